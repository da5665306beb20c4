/** The word list: which is in force, another one, what it would do to a text, what it has met. */

import { useRef, useState } from "preact/hooks";

import { forgetWords, storeWords, tryWords, words as askWords, type TriedWords, type Words } from "../api";
import { usePlace } from "../context";
import { count, moment, percent } from "../format";
import { t } from "../i18n";
import { useAction, useLoad } from "../load";
import { Badge, Button, Card, Empty, IconButton, Loading, Problem, Theirs } from "../parts/basics";
import { Confirm } from "../parts/dialog";
import { Field } from "../parts/field";
import { notice } from "../parts/notice";
import { Table } from "../parts/table";

const LARGEST_BYTES = 16 * 1_024 * 1_024;

function howMany({ words, statistics }: Words): number {
  if (statistics.words !== undefined) return statistics.words;
  if (typeof words === "number") return words;
  return (Array.isArray(words) ? words : words.split("\n").filter((line) => line.trim())).length;
}

export function WordsPanel({ isEnabled }: { isEnabled: boolean }) {
  const { app } = usePlace();
  const loaded = useLoad(`words ${app}`, (signal) => askWords(app, signal));
  return (
    <>
      <Card title={t.words.list} side={<IconButton icon="refresh" label={t.common.refresh} onClick={loaded.reload} />}>
        <Problem error={loaded.error} retry={loaded.reload} />
        {!loaded.data && !loaded.error && <Loading lines={3} />}
        {loaded.data && <List words={loaded.data} isEnabled={isEnabled} onChanged={loaded.reload} />}
      </Card>
      <TryIt />
      {loaded.data && <Statistics words={loaded.data} />}
    </>
  );
}

function List({ words, isEnabled, onChanged }: { words: Words; isEnabled: boolean; onChanged: () => void }) {
  const { app } = usePlace();
  const [text, setText] = useState("");
  const [forgetting, setForgetting] = useState(false);
  const [problem, setProblem] = useState("");
  const file = useRef<HTMLInputElement>(null);
  const action = useAction();
  const loadedAt = words.statistics.loaded_at;

  const store = async (list: string) => {
    setProblem("");
    if (
      await action.run(async () => {
        await storeWords(app, list);
        notice(t.words.stored);
      })
    ) {
      setText("");
      onChanged();
    }
  };
  return (
    <>
      <p class="badges">
        {words.source ? (
          <>
            <b>{t.words.count(howMany(words))}</b>
            <Badge tone={words.source === "stored" ? "good" : "accent"}>
              {t.words.from[words.source] ?? words.source}
            </Badge>
            {loadedAt ? <span class="faint">{t.words.loaded(moment(loadedAt))}</span> : null}
          </>
        ) : (
          <span class="faint">{t.words.none}</span>
        )}
      </p>
      {words.source && !isEnabled && <p class="hint">{t.words.disabled}</p>}
      <h3>{t.words.upload}</h3>
      <p class="hint">{t.words.uploadHow}</p>
      <div class="row">
        <Button icon="upload" busy={action.busy} onClick={() => file.current!.click()}>
          {t.words.choose}
        </Button>
        <input
          ref={file}
          type="file"
          accept=".txt,text/plain"
          hidden
          aria-label={t.words.choose}
          onChange={async (event) => {
            const chosen = event.currentTarget.files?.[0];
            event.currentTarget.value = ""; // the same file may be chosen again once it is mended
            if (!chosen) return;
            if (chosen.size > LARGEST_BYTES) return setProblem(t.words.large);
            await store(await chosen.text());
          }}
        />
        <span class="faint">{t.words.paste}</span>
      </div>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim()) void store(text);
        }}
      >
        <Field label={t.words.pasteLabel} error={problem || undefined}>
          {(control) => (
            <textarea
              {...control}
              dir="auto"
              rows={3}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          )}
        </Field>
        <Problem error={action.error} />
        <div class="row">
          <Button kind="primary" type="submit" disabled={!text.trim()} busy={action.busy}>
            {t.words.store}
          </Button>
          {words.text && !text && <Button onClick={() => setText(words.text ?? "")}>{t.words.edit}</Button>}
          {words.source === "stored" && <Button onClick={() => setForgetting(true)}>{t.words.forget}</Button>}
        </div>
      </form>
      {forgetting && (
        <Confirm
          title={t.words.forgetTitle}
          how={t.words.forgetHow}
          act={t.words.forget.replace(/…$/, "")}
          onConfirm={async () => {
            await forgetWords(app);
            notice(t.words.forgetDone);
            onChanged();
          }}
          onClose={() => setForgetting(false)}
        />
      )}
    </>
  );
}

function TryIt() {
  const { app } = usePlace();
  const [text, setText] = useState("");
  const [tried, setTried] = useState<{ text: string; result: TriedWords } | null>(null);
  const action = useAction();
  return (
    <Card title={t.words.try} hint={t.words.tryHow}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (text) void action.run(async () => setTried({ text, result: await tryWords(app, text) }));
        }}
      >
        <Field label={t.words.tryText}>
          {(control) => (
            <textarea
              {...control}
              dir="auto"
              rows={2}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          )}
        </Field>
        <Problem error={action.error} />
        <div class="row">
          <Button type="submit" icon="play" busy={action.busy} disabled={!text}>
            {t.words.try}
          </Button>
        </div>
      </form>
      <div aria-live="polite">
        {tried && (
          <div class="tried">
            <p>
              <Badge tone={tried.result.hits.length ? "warn" : "good"}>
                {tried.result.hits.length ? t.words.tryHits(tried.result.hits.length) : t.words.tryClear}
              </Badge>
            </p>
            <p class="text" dir="auto">
              <Marked text={tried.text} hits={tried.result.hits} />
            </p>
            {tried.result.hits.length > 0 && (
              <p class="text" dir="auto">
                <span class="faint">{t.words.masked}: </span>
                {tried.result.masked}
              </p>
            )}
          </div>
        )}
      </div>
    </Card>
  );
}

/** The places of hits are counted in code points, JavaScript's text in UTF-16 units. */
function Marked({ text, hits }: { text: string; hits: TriedWords["hits"] }) {
  const characters = [...text];
  const pieces = [];
  let at = 0;
  for (const hit of [...hits].sort((one, other) => one.start - other.start)) {
    if (hit.end <= at) continue;
    const start = Math.max(at, hit.start);
    pieces.push(characters.slice(at, start).join(""));
    pieces.push(
      <mark key={start} title={hit.word}>
        {characters.slice(start, hit.end).join("")}
      </mark>,
    );
    at = hit.end;
  }
  pieces.push(characters.slice(at).join(""));
  return <>{pieces}</>;
}

function Statistics({ words }: { words: Words }) {
  const { texts = 0, masked = 0, hits = [] } = words.statistics;
  return (
    <Card title={t.words.statistics} flush>
      <dl class="strip inside">
        <div>
          <dt>{t.words.texts}</dt>
          <dd>
            <b>{count(texts)}</b>
          </dd>
        </div>
        <div>
          <dt>{t.words.hit}</dt>
          <dd>
            <b>{count(masked)}</b> <span class="faint">{texts ? percent(masked / texts) : ""}</span>
          </dd>
        </div>
      </dl>
      {hits.length > 0 ? (
        <Table
          caption={t.words.top}
          rows={hits}
          name={(hit) => `${hit.line} ${hit.word}`}
          columns={[
            { head: t.words.word, main: true, cell: (hit) => <Theirs text={hit.word} /> },
            { head: t.words.line, number: true, cell: (hit) => count(hit.line) },
            { head: t.words.times, number: true, cell: (hit) => count(hit.count) },
          ]}
        />
      ) : (
        <Empty icon="search">{t.words.noHits}</Empty>
      )}
    </Card>
  );
}
