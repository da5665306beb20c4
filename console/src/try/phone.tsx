/** One person's side of the conversation. */

import { useEffect, useId, useRef } from "preact/hooks";

import { Badge, Button } from "../parts/basics";
import { Icon } from "../parts/icon";
import { Glyph, Ticks } from "./glyph";
import type { Line, Person } from "./person";
import { w } from "./words";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export function Phone({ person, tone, sample }: { person: Person; tone: "one" | "two"; sample: string }) {
  const t = w();
  const peer = person.peer.name();
  const name = useId();
  const log = useRef<HTMLDivElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const newest = person.lines.at(-1)?.key;
  useEffect(() => {
    log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [newest, person.peerTyping, person.looking]);
  const insert = (text: string) => {
    person.type(person.draft ? `${person.draft.trimEnd()} ${text}` : text);
    input.current?.focus();
  };
  const isOff = person.link === "offline" || person.link === "retrying" || person.unplugged;
  return (
    <section class={`card phone ${person.looking ? "" : "away"} ${isOff ? "off" : ""}`} aria-labelledby={name} data-person={tone}>
      <header class="phone-head">
        <span class={`face ${tone}`} aria-hidden="true">
          {[...person.name()][0]}
        </span>
        <div class="phone-title">
          <h2 id={name}>
            <bdi>{person.name()}</bdi>
          </h2>
          <p class="phone-state" data-link={person.link}>
            <span class={`dot ${person.link === "online" ? "good" : isOff ? "bad" : ""}`} />
            {person.peerTyping ? <span class="typing">{t.typing(peer)}</span> : <span>{t.link[person.link]}</span>}
          </p>
        </div>
        {person.unread > 0 && (
          <span class="unread">
            {person.unreadMention && (
              <span class="unread-mention" title={t.mentionsYou}>
                @<span class="unseen">{t.mentionsYou}</span>
              </span>
            )}
            <span aria-hidden="true">{person.unread}</span>
            <span class="unseen">{t.unread(person.unread)}</span>
          </span>
        )}
        <button type="button" class="icon-button pocket" aria-pressed={!person.looking} aria-label={person.looking ? t.away : t.back} title={person.looking ? t.away : t.back} onClick={() => person.look(!person.looking)}>
          <Glyph name={person.looking ? "pocket" : "eye"} />
        </button>
        <button
          type="button"
          class={`icon-button plug ${person.unplugged ? "pulled" : ""}`}
          aria-label={person.unplugged ? t.plug : t.pull}
          title={person.unplugged ? t.plug : `${t.pull}. ${t.pullNote}`}
          aria-pressed={person.unplugged}
          onClick={() => (person.unplugged ? person.plug() : person.unplug())}
        >
          <Glyph name="plug" />
        </button>
      </header>
      {/* Away: what a pocket shows is nothing. */}
      <div class="lines" ref={log} role="log" aria-label={t.log(person.name())} tabIndex={0} inert={!person.looking}>
        <ol>
          {person.lines.length === 0 && <li class="nothing">{person.link === "starting" ? t.starting : t.empty}</li>}
          {person.lines.map((line) => (
            <Bubble
              key={line.key}
              line={line}
              person={person}
              onEdit={() => {
                person.edit(line);
                input.current?.focus();
              }}
            />
          ))}
          {person.peerTyping && (
            <li class="bubble theirs-side typing-dots" aria-hidden="true">
              <i />
              <i />
              <i />
            </li>
          )}
        </ol>
      </div>
      {!person.looking && (
        <div class="pocketed">
          <p>{t.awayNote}</p>
          <Button small onClick={() => person.look(true)}>
            {t.back}
          </Button>
        </div>
      )}
      {person.trouble && (
        <p class="phone-trouble" role="alert" dir="auto">
          {person.trouble}
        </p>
      )}
      <form
        class="composer"
        onSubmit={(event) => {
          event.preventDefault();
          void person.submit();
        }}
      >
        {person.editing && (
          <p class="composer-note">
            <Glyph name="edit" />
            <span>{t.editing}</span>
            <button type="button" class="link-button" onClick={() => person.stopEditing()}>
              {t.cancel}
            </button>
          </p>
        )}
        <div class="composer-row">
          <button type="button" class="icon-button" aria-label={t.mention(peer)} title={t.mention(peer)} onClick={() => insert(`@${peer} `)}>
            <Glyph name="at" />
          </button>
          <input
            ref={input}
            type="text"
            value={person.draft}
            maxLength={500}
            autocomplete="off"
            enterkeyhint="send"
            aria-label={t.write(peer)}
            placeholder={t.write(peer)}
            onInput={(event) => person.type(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape" && person.editing) person.stopEditing();
            }}
          />
          <button type="submit" class="send" aria-disabled={!person.draft.trim()} aria-label={person.editing ? t.save : t.send} title={person.editing ? t.save : t.send}>
            {person.editing ? <Icon name="check" /> : <Glyph name="send" />}
          </button>
        </div>
        <p class="composer-foot">
          <span>{t.filterHint}</span>
          <button type="button" class="word" onClick={() => insert(`${sample} `)}>
            {sample}
          </button>
          {person.will && (
            <span class="will-kept" title={person.willText()}>
              <Glyph name="will" />
              <span class="will-text">{t.willKept}</span>
            </span>
          )}
        </p>
      </form>
    </section>
  );
}

function Bubble({ line, person, onEdit }: { line: Line; person: Person; onEdit: () => void }) {
  const t = w();
  const isRead = line.at > 0 && line.at <= person.readAt;
  const isThere = isRead || (line.at > 0 && line.at <= person.deliveredAt);
  const tick = line.state !== "sent" ? line.state : isRead ? "read" : isThere ? "delivered" : "sent";
  if (line.will) {
    return (
      <li class="will-line" data-id={line.id}>
        <Glyph name="will" />
        <p>
          <bdi>{line.text}</bdi>
          <small>{t.will}</small>
        </p>
      </li>
    );
  }
  return (
    <li class={`bubble ${line.mine ? "my-side" : "theirs-side"} ${line.mentioned ? "mentioned" : ""} ${line.recalled ? "recalled" : ""}`} data-id={line.id}>
      <p class="said">{line.recalled ? t.recalled : <bdi>{line.text}</bdi>}</p>
      <p class="about">
        {line.mentioned && !line.recalled && <Badge tone="accent">{t.mentionsYou}</Badge>}
        {line.masked && !line.recalled && <Badge tone="warn">{t.masked}</Badge>}
        {line.edited && !line.recalled && <span>{t.edited}</span>}
        <time dateTime={new Date(line.at).toISOString()}>{clock.format(line.at)}</time>
        {line.mine && !line.recalled && (
          <span class={`tick ${tick}`} data-tick={tick} title={t.ticks[tick]}>
            {line.state === "sent" ? <Ticks two={isThere} read={isRead} /> : line.state === "failed" ? "!" : "…"}
            <span class="unseen">{t.ticks[tick]}</span>
          </span>
        )}
      </p>
      {line.mine && line.state === "sent" && !line.recalled && (
        <span class="bubble-actions">
          <button type="button" aria-label={`${t.edit}: ${line.text}`} title={t.edit} onClick={onEdit}>
            <Glyph name="edit" />
          </button>
          <button type="button" aria-label={`${t.recall}: ${line.text}`} title={t.recall} onClick={() => void person.recall(line)}>
            <Glyph name="undo" />
          </button>
        </span>
      )}
    </li>
  );
}
