/** The page: who is on it, how it starts, and the list of what has been seen at work. */

import { useEffect, useReducer, useRef, useState } from "preact/hooks";

import { Refused, Unreachable } from "../api";
import { chooseLanguage, language, useLanguage } from "../i18n";
import { Button, IconButton } from "../parts/basics";
import { Icon, Mark } from "../parts/icon";
import { choose, useTheme } from "../theme";
import { ask, type Ground } from "./ground";
import { Hall } from "./hall";
import { Person } from "./person";
import { Phone } from "./phone";
import { Room } from "./room";
import { tour } from "./tour";
import { w, type Deeds } from "./words";

const DEEDS = Object.keys(w().deeds) as Deeds[];
const RUN_KEY = "fastim.try";

interface Cast {
  mei: Person;
  jonas: Person;
  hall: Hall;
  ground: Ground;
}

export function TryPage() {
  useLanguage();
  const t = w();
  const [, draw] = useReducer((count: number, _: void) => count + 1, 0);
  const [cast, setCast] = useState<Cast>();
  const [error, setError] = useState<Error>();
  const [turn, setTurn] = useState(0);
  const deeds = useRef(new Set<Deeds>());
  useEffect(() => {
    document.title = t.title;
  }, [t.title]);
  useEffect(() => {
    let isOver = false;
    setError(undefined);
    // The room changes many times a second; what people do is shown at once.
    const changed = () => draw();
    const later = soon(draw);
    const did = (deed: Deeds) => {
      if (deeds.current.has(deed)) return;
      deeds.current.add(deed);
      changed();
    };
    ask()
      .then((ground) => {
        if (isOver) return;
        const run = runOf();
        const [mei, jonas] = [0, 1].map(
          (place) =>
            new Person(
              `${["mei", "jonas"][place]}-${run}`,
              () => w().names[place]!,
              () => w().wills[place]!,
              changed,
              did,
            ),
        ) as [Person, Person];
        mei.peer = jonas;
        jonas.peer = mei;
        const hall = new Hall(ground, run, () => w().lines, later, did);
        setCast({ mei, jonas, hall, ground });
        hall.start();
        // Both have to be online before either speaks, or the first words would be unread ones.
        return Promise.all([mei.start(ground), jonas.start(ground)]).then(() => Promise.all([mei.meet(), jonas.meet()]));
      })
      .catch((reason: Error) => setError(reason));
    return () => {
      isOver = true;
    };
  }, [turn]);
  return (
    <>
      <a class="skip" href="#content">
        {t.skip}
      </a>
      <header class="bar try-bar">
        <a class="brand" href="/console" aria-label={`fastim: ${t.console}`}>
          <Mark />
          <b>fastim</b>
        </a>
        <div class="bar-end">
          <a class="button quiet" href="/console">
            <span>{t.console}</span>
          </a>
          <Switches />
        </div>
      </header>
      <main id="content" tabIndex={-1} class="try">
        {error && !cast ? <NotHere error={error} retry={() => setTurn(turn + 1)} /> : cast ? <Play cast={cast} deeds={deeds.current} error={error} /> : <p class="try-wait">{t.starting}</p>}
      </main>
    </>
  );
}

function Play({ cast: { mei, jonas, hall, ground }, deeds, error }: { cast: Cast; deeds: Set<Deeds>; error: Error | undefined }) {
  const t = w();
  const isNarrow = useNarrow();
  const [shown, setShown] = useState<0 | 1 | 2>(0);
  const [playing, setPlaying] = useState<AbortController>();
  const tabs = useRef<HTMLDivElement>(null);
  const place = useRef(shown);
  place.current = shown;
  const people = [mei, jonas] as const;
  const show = (place: 0 | 1 | 2) => {
    setShown(place);
    // On a phone, what is not on the screen is not being read.
    if (isNarrow && !playing) people.forEach((one, number) => one.look(number === place));
  };
  useEffect(() => {
    people.forEach((one, number) => one.look(!isNarrow || number === shown));
  }, [isNarrow]);
  const play = async () => {
    if (playing) {
      playing.abort();
      return;
    }
    const control = new AbortController();
    setPlaying(control);
    try {
      await tour(mei, jonas, hall, setShown, control.signal);
    } catch (reason) {
      if (!control.signal.aborted) throw reason;
    } finally {
      setPlaying(undefined);
      people.forEach((one, number) => one.look(!isNarrow || number === place.current));
    }
  };
  const names = [mei.name(), jonas.name(), t.room];
  const isHidden = (place: number) => isNarrow && shown !== place;
  const panel = (place: number) => (isNarrow ? { role: "tabpanel" as const, id: `panel-${place}`, "aria-labelledby": `tab-${place}` } : {});
  return (
    <>
      <div class="try-head">
        <div>
          <h1 tabIndex={-1}>{t.title}</h1>
          <p class="hint">{t.lead}</p>
        </div>
        <Button kind={playing ? "plain" : "primary"} icon={playing ? "close" : "play"} onClick={() => void play()} disabled={mei.link === "starting"} data-play>
          {playing ? t.stop : t.play}
        </Button>
        <ul class="deeds" aria-label={t.list} tabIndex={isNarrow ? 0 : undefined}>
          {DEEDS.map((deed) => (
            <li key={deed} class={deeds.has(deed) ? "deed done" : "deed"} data-deed={deed}>
              {deeds.has(deed) ? <Icon name="check" /> : <span class="ring" aria-hidden="true" />}
              {t.deeds[deed]}
              {deeds.has(deed) && <span class="unseen">: {t.done}</span>}
            </li>
          ))}
        </ul>
      </div>
      {error && (
        <p class="phone-trouble" role="alert" dir="auto">
          {error.message}
        </p>
      )}
      {isNarrow && (
        <div
          class="try-tabs"
          role="tablist"
          aria-label={t.tabs}
          ref={tabs}
          onKeyDown={(event) => {
            const step = { ArrowRight: 1, ArrowLeft: 2 }[event.key];
            if (!step) return;
            const next = ((shown + step) % 3) as 0 | 1 | 2;
            show(next);
            tabs.current?.querySelectorAll("button")[next]?.focus();
          }}
        >
          {names.map((name, place) => {
            const person = people[place];
            return (
              <button
                key={place}
                type="button"
                role="tab"
                id={`tab-${place}`}
                aria-selected={shown === place}
                aria-controls={`panel-${place}`}
                tabIndex={shown === place ? 0 : -1}
                onClick={() => show(place as 0 | 1 | 2)}
              >
                <bdi>{name}</bdi>
                {person && person.unread > 0 && (
                  <span class="unread">
                    {person.unreadMention && <span class="unread-mention">@</span>}
                    {person.unread}
                  </span>
                )}
              </button>
            );
          })}
        </div>
      )}
      <div class="try-grid">
        {people.map((person, place) => (
          <div key={person.id} class="place" hidden={isHidden(place)} {...panel(place)}>
            <Phone person={person} tone={place === 0 ? "one" : "two"} sample={ground.words[language() === "zh" ? ground.words.length - 1 : 0] ?? ""} />
          </div>
        ))}
        <div class="place room-place" hidden={isHidden(2)} {...panel(2)}>
          <Room hall={hall} />
        </div>
      </div>
    </>
  );
}

function Switches() {
  const t = w();
  const theme = useTheme();
  const isDark = theme === "dark";
  const next = language() === "en" ? "zh" : "en";
  return (
    <>
      <button type="button" class="icon-button text" lang={next === "zh" ? "zh-CN" : "en"} onClick={() => chooseLanguage(next)}>
        {next === "zh" ? "中文" : "English"}
      </button>
      <IconButton icon={isDark ? "sun" : "moon"} label={isDark ? t.light : t.dark} onClick={() => choose(isDark ? "light" : "dark")} />
    </>
  );
}

function NotHere({ error, retry }: { error: Error; retry: () => void }) {
  const t = w();
  return (
    <div class="card not-here" role="alert">
      <h1>{t.notHere}</h1>
      <p dir="auto">{error instanceof Unreachable ? t.unreachable : error.message}</p>
      <p class="row">
        {error instanceof Refused && error.status === 401 && (
          <a class="button primary" href="/console">
            <span>{t.signIn}</span>
          </a>
        )}
        <Button onClick={retry}>{t.again}</Button>
      </p>
    </div>
  );
}

function useNarrow(): boolean {
  const [query] = useState(() => matchMedia("(max-width: 719px)"));
  const [isNarrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const hear = () => setNarrow(query.matches);
    query.addEventListener("change", hear);
    return () => query.removeEventListener("change", hear);
  }, [query]);
  return isNarrow;
}

/** Draws at most twenty times a second. */
function soon(draw: (nothing: void) => void): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    setTimeout(() => {
      isDue = false;
      draw();
    }, 50);
  };
}

/** Names this tab's people: after a reload they are the same, and find what they said. */
function runOf(): string {
  const fresh = Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    const kept = sessionStorage.getItem(RUN_KEY) ?? fresh;
    sessionStorage.setItem(RUN_KEY, kept);
    return kept;
  } catch {
    return fresh;
  }
}
