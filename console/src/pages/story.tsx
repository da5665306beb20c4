/** What became of one message: the steps that are remembered, and what is stored. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import { story as askStory, type Priority, type Step, type Story, type TopRoom } from "../api";
import { usePlace } from "../context";
import { milliseconds } from "../format";
import { said, t } from "../i18n";
import { useLoad } from "../load";
import {
  Button,
  Card,
  Copy,
  Empty,
  Fact,
  Facts,
  Head,
  Json,
  Loading,
  Problem,
  Theirs,
  Time,
  type Tone,
} from "../parts/basics";
import { TextField } from "../parts/field";
import { Shed } from "../parts/shed";
import { go, href } from "../route";
import { reading } from "./history";

export function StoryPage({ messageId, conversationId }: { messageId: string; conversationId: string }) {
  const [id, setId] = useState(messageId);
  const [conversation, setConversation] = useState(conversationId);
  useEffect(() => {
    setId(messageId);
    setConversation(conversationId);
  }, [messageId, conversationId]);
  const [asked, setAsked] = useState(0);
  return (
    <>
      <Head title={t.story.title} lead={t.story.lead} />
      <Card>
        <form
          class="lookup"
          onSubmit={(event) => {
            event.preventDefault();
            const wanted = id.trim();
            if (!wanted) return;
            setAsked(asked + 1);
            go(href(["story", wanted], conversation.trim() ? { conversation: conversation.trim() } : {}));
          }}
        >
          <TextField
            label={t.story.id}
            value={id}
            onValue={setId}
            required
            autocomplete="off"
            spellcheck={false}
            class="code"
          />
          <TextField
            label={`${t.story.conversation} (${t.common.optional})`}
            hint={t.story.conversationHint}
            value={conversation}
            onValue={setConversation}
            autocomplete="off"
            spellcheck={false}
            class="code"
          />
          <Button kind="primary" icon="search" type="submit">
            {t.story.look}
          </Button>
        </form>
      </Card>
      {messageId ? (
        <Told key={`${messageId} ${conversationId} ${asked}`} messageId={messageId} conversationId={conversationId} />
      ) : (
        <Empty icon="story">{t.story.empty}</Empty>
      )}
    </>
  );
}

function Told({ messageId, conversationId }: { messageId: string; conversationId: string }) {
  const { app } = usePlace();
  const loaded = useLoad(`story ${app} ${messageId} ${conversationId}`, (signal) =>
    askStory(app, messageId, conversationId, signal),
  );
  if (loaded.error && !loaded.data) return <Problem error={loaded.error} retry={loaded.reload} />;
  if (!loaded.data) return <Loading lines={8} />;
  const told = loaded.data;
  if (!told.found) {
    return (
      <Empty icon="search">
        <p>
          <strong>{t.story.notFound}</strong>
        </p>
        <p>{t.story.notFoundHow}</p>
      </Empty>
    );
  }
  return (
    <div class="columns">
      <div class="column wide">
        <Card
          title={t.story.steps}
          side={
            <Button small icon="refresh" onClick={loaded.reload}>
              {t.common.refresh}
            </Button>
          }
        >
          {told.steps.length ? <Steps steps={told.steps} /> : <p class="faint">{t.story.noSteps}</p>}
          {told.left_out ? <p class="hint">{t.story.leftOut(told.left_out)}</p> : null}
        </Card>
      </div>
      <div class="column">
        <Stored told={told} />
      </div>
    </div>
  );
}

const TONES: Record<string, Tone> = {
  received: "accent",
  stored: "good",
  delivered: "good",
  read: "good",
  pushed: "good",
  filtered: "warn",
  modified: "warn",
  shed: "bad",
  push_failed: "bad",
  recalled: "bad",
  refused: "bad",
};

/** A room that has shed nothing gets its step all the same, which is no bad news. */
function tone(step: Step): Tone {
  const counts =
    step.what === "shed" ? Object.values((step["shed"] ?? {}) as Record<string, Record<string, number>>) : [];
  if (counts.length && counts.every((reasons) => Object.values(reasons).every((many) => many === 0))) return "plain";
  return TONES[step.what] ?? "plain";
}

function Steps({ steps }: { steps: Step[] }) {
  const ordered = steps
    .map((step, index) => ({ step, index }))
    .sort((one, other) => one.step.at - other.step.at || one.index - other.index);
  const begun = ordered[0]!.step.at;
  return (
    <ol class="timeline">
      {ordered.map(({ step, index }) => {
        const facts = Object.entries(step).filter(
          ([name, value]) => name !== "at" && name !== "what" && value !== null && value !== undefined && value !== "",
        );
        return (
          <li key={index} class={tone(step)}>
            <div class="step-head">
              <h3>{said(t.story.what, step.what)}</h3>
              <span class="step-time">
                {step.at > begun && <b>{t.story.after(milliseconds(step.at - begun))}</b>} <Time at={step.at} exact />
              </span>
            </div>
            {facts.length > 0 && (
              <Facts>
                {facts.map(([name, value]) => (
                  <Fact key={name} name={readable(name)}>
                    <Value name={name} value={value} />
                  </Fact>
                ))}
              </Facts>
            )}
          </li>
        );
      })}
    </ol>
  );
}

function Stored({ told }: { told: Story }) {
  const facts = Object.entries(told.durable ?? {}).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  return (
    <Card title={t.story.stored}>
      <Facts>
        <Fact name="ID">
          <span class="code">{told.id}</span> <Copy text={told.id} label="ID" />
        </Fact>
        {facts
          .filter(([name]) => name !== "id")
          .map(([name, value]) => (
            <Fact key={name} name={readable(name)}>
              <Value name={name} value={value} />
            </Fact>
          ))}
      </Facts>
    </Card>
  );
}

/** A fact that this page does not know is named as the server names it. */
const readable = (name: string): string =>
  name in t.story.facts ? said(t.story.facts, name) : name.replaceAll("_", " ");

const SINCE_2001_MS = 1e12;

/** A fact of a step, whatever it is. Receipts and the like are lists of clients with a time. */
const PRIORITIES: Record<number, Priority> = { 1: "high", 2: "normal", 3: "low" };

function Value({ name, value }: { name: string; value: unknown }): ComponentChildren {
  if (typeof value === "boolean") return value ? t.common.yes : t.common.no;
  if (name === "priority" && PRIORITIES[Number(value)]) return t.live.priorities[PRIORITIES[Number(value)]!];
  if (name === "shed" && typeof value === "object") return <Shed shed={value as TopRoom["shed"]} />;
  if (name === "kind") return said(t.conversations.kinds, String(value));
  if (name === "text" && typeof value === "string") return <Theirs text={reading({ text: value }).text} />;
  if (typeof value === "number") {
    if (value > SINCE_2001_MS && /(^|_)(at|timestamp|until)$/.test(name)) return <Time at={value} exact />;
    return name.endsWith("milliseconds") ? milliseconds(value) : String(value);
  }
  if (typeof value === "string") {
    if (name === "conversation_id" || name === "conversation") {
      return (
        <a class="code" href={href(["conversations", value])}>
          {value}
        </a>
      );
    }
    return <Theirs text={value} code={name.endsWith("id")} />;
  }
  if (Array.isArray(value) && value.length === 0) return t.common.none;
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) {
    return (
      <span class="badges">
        {value.map((one, index) => (
          <span key={index} class="badge plain">
            <Theirs text={String(one)} />
          </span>
        ))}
      </span>
    );
  }
  return <Json value={value} label={readable(name)} />;
}
