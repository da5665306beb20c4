/** One conversation: what it is, who is in it, what was said. */

import { useState } from "preact/hooks";

import { conversation as askConversation, Refused, type Conversation, type Held, type Member } from "../api";
import { usePlace } from "../context";
import { compact, count } from "../format";
import { said, t } from "../i18n";
import { useLoad } from "../load";
import {
  Badge,
  Button,
  Card,
  Copy,
  Empty,
  Fact,
  Facts,
  Head,
  IconButton,
  Json,
  Loading,
  Problem,
  Theirs,
  Time,
} from "../parts/basics";
import { Icon } from "../parts/icon";
import { href } from "../route";
import { ClientDialog } from "./client";
import { KindBadge } from "./conversations";
import { History } from "./history";

const idOf = (held: Held): string => (typeof held === "string" ? held : held.client_id);

export function ConversationPage({ id }: { id: string }) {
  const { app } = usePlace();
  const loaded = useLoad(`conversation ${app} ${id}`, (signal) => askConversation(app, id, signal));
  const [opened, setOpened] = useState<string | null>(null);
  const found = loaded.data;
  const back = href(["conversations"]);
  if (!found) {
    const isGone = loaded.error instanceof Refused && loaded.error.status === 404;
    return (
      <>
        <Head title={id} back={back} />
        {isGone ? (
          <Empty icon="search">{t.conversation.gone}</Empty>
        ) : loaded.error ? (
          <Problem error={loaded.error} retry={loaded.reload} />
        ) : (
          <Loading lines={8} />
        )}
      </>
    );
  }
  const members = found.members ?? [];
  return (
    <>
      <Head title={found.name || id} back={back} lead={<KindBadge kind={found.kind} />}>
        <IconButton icon="refresh" label={t.common.refresh} onClick={loaded.reload} />
      </Head>
      <Problem error={loaded.error} />
      <div class="columns">
        <div class="column wide">
          <History conversation={found} onClient={setOpened} />
        </div>
        <div class="column">
          <Details conversation={found} />
          <People conversation={found} onClient={setOpened} />
          <Kept title={t.conversation.silencedPeople} held={found.silenced ?? []} onClient={setOpened} />
          <Kept title={t.conversation.blockedPeople} held={found.blocked ?? []} onClient={setOpened} />
        </div>
      </div>
      {opened !== null && (
        <ClientDialog
          conversationId={id}
          clientId={opened}
          member={members.find((member) => member.client_id === opened)}
          silenced={
            (found.silenced ?? []).some((held) => idOf(held) === opened) ||
            members.some((member) => member.client_id === opened && member.silenced === true)
          }
          blocked={(found.blocked ?? []).some((held) => idOf(held) === opened)}
          onChanged={loaded.reload}
          onClose={() => setOpened(null)}
        />
      )}
    </>
  );
}

function Details({ conversation }: { conversation: Conversation }) {
  const attributes = conversation.attributes ?? {};
  return (
    <Card title={t.conversation.details}>
      <Facts>
        <Fact name="ID">
          <span class="code">{conversation.id}</span> <Copy text={conversation.id} label="ID" />
        </Fact>
        <Fact name={t.conversations.creator}>
          {conversation.creator ? <Theirs text={conversation.creator} /> : "–"}
        </Fact>
        <Fact name={t.conversations.created}>
          <Time at={conversation.created_at} />
        </Fact>
        <Fact name={t.conversations.updated}>
          <Time at={conversation.updated_at} />
        </Fact>
        <Fact name={t.conversations.lastMessage}>
          <Time at={conversation.last_message_at} />
        </Fact>
      </Facts>
      {Object.keys(attributes).length > 0 && (
        <>
          <h3>{t.conversation.attributes}</h3>
          <Json value={attributes} label={t.conversation.attributes} />
        </>
      )}
      {conversation.ledger && (
        <>
          <h3 title={t.conversation.ledgerHint}>{t.conversation.ledger}</h3>
          <Ledger ledger={conversation.ledger} />
        </>
      )}
    </Card>
  );
}

const PRIORITIES = ["high", "normal", "low"] as const;

/** What became of a room's messages: plain numbers, and those that are counted by priority. */
function Ledger({ ledger }: { ledger: Record<string, unknown> }) {
  const plain = Object.entries(ledger).filter(([, value]) => typeof value === "number") as [string, number][];
  const counted = Object.entries(ledger).filter(([, value]) => typeof value === "object" && value !== null) as [
    string,
    Record<string, number>,
  ][];
  return (
    <>
      <Facts>
        {plain.map(([name, value]) => (
          <Fact key={name} name={name.replaceAll("_", " ")}>
            <span class="figure">{count(value)}</span>
          </Fact>
        ))}
      </Facts>
      {counted.length > 0 && (
        <table class="ledger">
          <thead>
            <tr>
              <td />
              {PRIORITIES.map((priority) => (
                <th key={priority} scope="col">
                  {t.live.priorities[priority]}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {counted.map(([name, counts]) => (
              <tr key={name}>
                <th scope="row">{name.replaceAll("_", " ")}</th>
                {PRIORITIES.map((priority) => (
                  <td key={priority} title={count(counts[priority] ?? 0)}>
                    {compact(counts[priority] ?? 0)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

function People({ conversation, onClient }: { conversation: Conversation; onClient: (id: string) => void }) {
  const members = conversation.members ?? [];
  const online = conversation.online;
  const other = <OtherClient onClient={onClient} />;
  if (conversation.kind === "room") {
    const here = typeof online === "number" ? { count: online, sample: [] } : (online ?? { count: 0, sample: [] });
    const sample = here.sample ?? [];
    return (
      <Card
        title={`${t.conversation.here} · ${count(here.count)}`}
        hint={sample.length > 0 && sample.length < here.count ? t.conversation.hereSome : undefined}
      >
        <ul class="people">
          {sample.map((id) => (
            <Person key={id} member={{ client_id: id, online: true }} onClient={onClient} />
          ))}
        </ul>
        {other}
      </Card>
    );
  }
  const all = conversation.member_count ?? members.length;
  return (
    <Card
      title={`${t.conversation.people} · ${count(all)}`}
      hint={members.length < all ? t.conversation.peopleOf(members.length, all) : undefined}
    >
      <ul class="people">
        {members.map((member) => (
          <Person key={member.client_id} member={member} onClient={onClient} />
        ))}
      </ul>
      {other}
    </Card>
  );
}

function Person({ member, onClient }: { member: Member; onClient: (id: string) => void }) {
  const isPlain = !member.role || member.role.toLowerCase() === "member";
  return (
    <li>
      <button type="button" class="person" onClick={() => onClient(member.client_id)}>
        <span
          class={member.online ? "dot good" : "dot"}
          title={member.online ? t.conversation.online : t.conversation.offline}
        >
          <span class="unseen">{member.online ? t.conversation.online : t.conversation.offline}</span>
        </span>
        <span class="clip">
          <Theirs text={member.client_id} />
        </span>
        <span class="badges">
          {!isPlain && <Badge tone="accent">{said(t.conversation.roles, member.role!)}</Badge>}
          {member.silenced && <Badge tone="warn">{t.conversation.silenced}</Badge>}
          {member.muted && <Badge title={t.conversation.mutedHint}>{t.conversation.muted}</Badge>}
        </span>
        <Icon name="next" />
      </button>
    </li>
  );
}

/** Who is not in the list: somebody who left, or who is to be blocked before they come. */
function OtherClient({ onClient }: { onClient: (id: string) => void }) {
  const [id, setId] = useState("");
  return (
    <form
      class="joined other"
      onSubmit={(event) => {
        event.preventDefault();
        if (id.trim()) onClient(id.trim());
      }}
    >
      <input
        dir="auto"
        aria-label={t.conversation.act2}
        placeholder={t.conversation.act2}
        value={id}
        onInput={(event) => setId(event.currentTarget.value)}
      />
      <Button type="submit" icon="next" aria-label={t.conversation.open} />
    </form>
  );
}

function Kept({ title, held, onClient }: { title: string; held: Held[]; onClient: (id: string) => void }) {
  if (!held.length) return null;
  return (
    <Card title={`${title} · ${count(held.length)}`}>
      <ul class="people">
        {held.map((one) => (
          <li key={idOf(one)}>
            <button type="button" class="person" onClick={() => onClient(idOf(one))}>
              <span class="clip">
                <Theirs text={idOf(one)} />
              </span>
              {typeof one === "object" && one.until ? (
                <span class="faint">
                  <Time at={one.until} />
                </span>
              ) : null}
              <Icon name="next" />
            </button>
          </li>
        ))}
      </ul>
    </Card>
  );
}
