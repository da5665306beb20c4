/** What was said in a conversation, newest at the bottom, older ones on demand; and saying something oneself. */

import { useEffect, useRef, useState } from "preact/hooks";

import { messages as askMessages, recall, send, type Conversation, type Message, type Priority } from "../api";
import { usePlace } from "../context";
import { bytes, moment } from "../format";
import { t } from "../i18n";
import { useAction, useLoad } from "../load";
import { Badge, Button, Card, Empty, IconButton, Json, Loading, Problem, Theirs, Time } from "../parts/basics";
import { Confirm } from "../parts/dialog";
import { Field, TextField } from "../parts/field";
import { notice } from "../parts/notice";
import { href } from "../route";
import { remember, remembered } from "../theme";

const older = (one: Message, other: Message) => one.timestamp - other.timestamp || (one.id < other.id ? -1 : 1);

export function History({ conversation, onClient }: { conversation: Conversation; onClient: (id: string) => void }) {
  const { app } = usePlace();
  const { id } = conversation;
  const loaded = useLoad(`messages ${app} ${id}`, (signal) => askMessages(app, id, undefined, signal));
  const [earlier, setEarlier] = useState<{ messages: Message[]; more: boolean } | null>(null);
  const [recalling, setRecalling] = useState<Message | null>(null);
  const paging = useAction();
  const box = useRef<HTMLDivElement>(null);

  const byId = new Map(
    [...(earlier?.messages ?? []), ...(loaded.data?.messages ?? [])].map((message) => [message.id, message]),
  );
  const shown = [...byId.values()].sort(older);
  const more = earlier ? earlier.more : (loaded.data?.more ?? false);
  const newest = shown[shown.length - 1]?.id;

  // The newest one is what one came for.
  useEffect(() => {
    const element = box.current;
    if (element) element.scrollTop = element.scrollHeight;
  }, [newest]);

  const page = () =>
    paging.run(async () => {
      const first = shown[0];
      if (!first) return;
      const found = await askMessages(app, id, { timestamp: first.timestamp, id: first.id });
      const element = box.current;
      const below = element ? element.scrollHeight - element.scrollTop : 0;
      setEarlier({ messages: [...found.messages, ...(earlier?.messages ?? [])], more: found.more });
      // What was being read stays where it is.
      requestAnimationFrame(() => {
        if (element) element.scrollTop = element.scrollHeight - below;
      });
    });

  return (
    <Card
      title={t.conversation.history}
      side={<IconButton icon="refresh" label={t.common.refresh} onClick={loaded.reload} />}
      flush
    >
      <Problem error={loaded.error} retry={loaded.reload} />
      {!loaded.data && !loaded.error && (
        <div class="pad">
          <Loading lines={6} />
        </div>
      )}
      {loaded.data && !shown.length && <Empty icon="conversations">{t.conversation.noMessages}</Empty>}
      {shown.length > 0 && (
        <div class="history" ref={box} tabIndex={0} role="group" aria-label={t.conversation.history}>
          <div class="history-head">
            <Problem error={paging.error} />
            {more ? (
              <Button small busy={paging.busy} onClick={() => void page()}>
                {t.conversation.oldest}
              </Button>
            ) : (
              <span class="faint">{t.conversation.beginning}</span>
            )}
          </div>
          <ol>
            {shown.map((message) => (
              <Line
                key={message.id}
                message={message}
                conversationId={id}
                onClient={onClient}
                onRecall={() => setRecalling(message)}
              />
            ))}
          </ol>
        </div>
      )}
      <Compose conversation={conversation} onSent={loaded.reload} />
      {recalling && (
        <Confirm
          title={t.conversation.recallTitle}
          how={t.conversation.recallHow}
          act={t.conversation.recall}
          onConfirm={async () => {
            await recall(app, id, recalling);
            notice(t.conversation.recallDone);
            setEarlier(
              (known) =>
                known && {
                  ...known,
                  messages: known.messages.map((one) => (one.id === recalling.id ? { ...one, recalled: true } : one)),
                },
            );
            loaded.reload();
          }}
          onClose={() => setRecalling(null)}
        />
      )}
    </Card>
  );
}

function Line({
  message,
  conversationId,
  onClient,
  onRecall,
}: {
  message: Message;
  conversationId: string;
  onClient: (id: string) => void;
  onRecall: () => void;
}) {
  const [isRaw, setRaw] = useState(false);
  const said = reading(message);
  return (
    <li class={message.recalled ? "message recalled" : "message"}>
      <div class="message-head">
        <button type="button" class="sender" onClick={() => onClient(message.from)}>
          <Theirs text={message.from} />
        </button>
        <Time at={message.timestamp} />
        {said.kind && !message.recalled && <Badge>{said.kind}</Badge>}
        {message.recalled && <Badge tone="bad">{t.conversation.recalled}</Badge>}
        {!message.recalled && message.patched_at ? (
          <Badge tone="warn" title={t.conversation.modifiedAt(moment(message.patched_at))}>
            {t.conversation.modified}
          </Badge>
        ) : null}
        {message.receipt && <Badge title={t.conversation.receipt}>✓</Badge>}
      </div>
      <div class="message-body">
        {message.recalled ? (
          <p class="faint">
            <i>{t.conversation.recalledText}</i>
          </p>
        ) : (
          <p class={said.isFaint ? "text faint" : "text"} dir="auto">
            {said.text}
          </p>
        )}
        {!message.recalled && message.patched_at ? (
          <p class="faint small">{t.conversation.modifiedAt(moment(message.patched_at))}</p>
        ) : null}
        {(message.mention_all || (message.mentions?.length ?? 0) > 0) && (
          <p class="small faint mentions">
            {t.conversation.mentions}{" "}
            {message.mention_all ? (
              <b>@{t.conversation.everyone}</b>
            ) : (
              message.mentions!.map((who) => (
                <b key={who}>
                  @<Theirs text={who} />
                </b>
              ))
            )}
          </p>
        )}
        {isRaw && <Json value={message} label={t.conversation.raw} />}
      </div>
      <div class="message-actions">
        <a class="button quiet small" href={href(["story", message.id], { conversation: conversationId })}>
          {t.conversation.story}
        </a>
        <Button kind="quiet" small aria-expanded={isRaw} onClick={() => setRaw(!isRaw)}>
          {t.conversation.raw}
        </Button>
        {!message.recalled && (
          <Button kind="quiet" small onClick={onRecall}>
            {t.conversation.recall}
          </Button>
        )}
      </div>
    </li>
  );
}

/** SDKs' typed messages are JSON with `_lctype`; the text in them is what people have seen. */
const TYPES: Record<string, keyof typeof t.conversation.types> = {
  "-1": "text",
  "-2": "image",
  "-3": "audio",
  "-4": "video",
  "-5": "location",
  "-6": "file",
  "-127": "recalled",
};

export function reading(message: Pick<Message, "binary" | "text" | "data">): {
  text: string;
  kind: string | null;
  isFaint: boolean;
} {
  if (message.binary) {
    const size = Math.floor(((message.data ?? "").replace(/=+$/, "").length * 3) / 4);
    return { text: t.conversation.binary(bytes(size)), kind: null, isFaint: true };
  }
  const raw = message.text ?? "";
  if (raw.startsWith("{")) {
    try {
      const typed = JSON.parse(raw) as Record<string, unknown>;
      if ("_lctype" in typed) {
        const type = Number(typed["_lctype"]);
        const name = TYPES[String(type)];
        const text = typeof typed["_lctext"] === "string" ? typed["_lctext"] : "";
        const file = typed["_lcfile"] as { url?: unknown } | undefined;
        const url = typeof file?.url === "string" ? file.url : "";
        return {
          text: text || url || t.conversation.noText,
          kind: name === "text" ? null : name ? t.conversation.types[name] : `${t.conversation.types.custom} ${type}`,
          isFaint: !text,
        };
      }
    } catch {
      // Then it is no typed message, and shown as it is.
    }
  }
  return { text: raw || t.conversation.noText, kind: null, isFaint: raw === "" };
}

const SENDER = "fastim.sender";

function Compose({ conversation, onSent }: { conversation: Conversation; onSent: () => void }) {
  const { app } = usePlace();
  const [from, setFrom] = useState(() => remembered(SENDER) ?? "");
  const [text, setText] = useState("");
  const [priority, setPriority] = useState<Priority>("normal");
  const action = useAction();
  return (
    <form
      class="compose"
      aria-label={t.conversation.send}
      onSubmit={async (event) => {
        event.preventDefault();
        if (!text.trim() || !from.trim()) return;
        const isSent = await action.run(() =>
          send(app, conversation.id, {
            from: from.trim(),
            text,
            ...(conversation.kind === "room" ? { priority } : {}),
          }),
        );
        if (!isSent) return;
        remember(SENDER, from.trim());
        setText("");
        notice(t.conversation.sent);
        onSent();
      }}
    >
      <div class="compose-row">
        <TextField
          label={t.conversation.sendAs}
          value={from}
          onValue={setFrom}
          required
          maxLength={64}
          autocomplete="off"
          title={t.conversation.sendAsHint}
        />
        {conversation.kind === "room" && (
          <Field label={t.conversation.priority}>
            {(control) => (
              <select
                {...control}
                value={priority}
                onChange={(event) => setPriority(event.currentTarget.value as Priority)}
              >
                {(["high", "normal", "low"] as const).map((one) => (
                  <option key={one} value={one}>
                    {t.live.priorities[one]}
                  </option>
                ))}
              </select>
            )}
          </Field>
        )}
      </div>
      <div class="compose-row">
        <Field label={t.conversation.text}>
          {(control) => (
            <textarea
              {...control}
              dir="auto"
              rows={2}
              required
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key === "Enter" && (event.metaKey || event.ctrlKey))
                  event.currentTarget.form!.requestSubmit();
              }}
            />
          )}
        </Field>
        <Button kind="primary" type="submit" busy={action.busy}>
          {t.conversation.send}
        </Button>
      </div>
      <Problem error={action.error} />
    </form>
  );
}
