import { useEffect, useState } from "preact/hooks";

import { conversations, type ConversationKind, type ConversationLine } from "../api";
import { usePlace } from "../context";
import { count } from "../format";
import { said, t } from "../i18n";
import { useLoad } from "../load";
import { Badge, Button, Card, Empty, Head, Loading, Problem, Theirs, Time, type Tone } from "../parts/basics";
import { Choice } from "../parts/field";
import { Icon } from "../parts/icon";
import { Table } from "../parts/table";
import { href } from "../route";

const PAGE = 20;
const PAUSE_MS = 250;
const KINDS: ConversationKind[] = ["normal", "room", "service", "temporary"];

const TONES: Record<ConversationKind, Tone> = { normal: "plain", room: "accent", service: "good", temporary: "warn" };

interface Wanted {
  search: string;
  kind: ConversationKind | "";
  skip: number;
}

/** What was looked for last, so that the list is as it was when one comes back from a conversation. */
const lately = new Map<string, Wanted>();

export function KindBadge({ kind }: { kind: ConversationKind }) {
  return <Badge tone={TONES[kind] ?? "plain"}>{said(t.conversations.kinds, kind)}</Badge>;
}

export function ConversationsPage({ query }: { query: URLSearchParams }) {
  const { app } = usePlace();
  const [wanted, setWanted] = useState<Wanted>(
    () => lately.get(app) ?? { search: query.get("search") ?? "", kind: "", skip: 0 },
  );
  const [typed, setTyped] = useState(wanted.search);
  lately.set(app, wanted);

  useEffect(() => {
    if (typed === wanted.search) return;
    const timer = setTimeout(() => setWanted({ ...wanted, search: typed, skip: 0 }), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [typed, wanted]);

  const loaded = useLoad(JSON.stringify([app, wanted]), (signal) =>
    conversations(app, { ...wanted, search: wanted.search.trim(), limit: PAGE }, signal),
  );
  // The old list stays until the new one is there, or typing would make the page jump.
  const [shown, setShown] = useState(loaded.data);
  useEffect(() => {
    if (loaded.data) setShown(loaded.data);
  }, [loaded.data]);
  const list = loaded.data ?? shown;
  const isFiltered = wanted.search.trim() !== "" || wanted.kind !== "";

  return (
    <>
      <Head title={t.conversations.title} />
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label class="search">
          <span class="unseen">{t.conversations.search}</span>
          <Icon name="search" />
          <input
            type="search"
            dir="auto"
            value={typed}
            placeholder={t.conversations.search}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </label>
        <Choice
          label={t.common.kind}
          value={wanted.kind}
          options={[
            ["", t.common.all] as const,
            ...KINDS.map((kind) => [kind, t.conversations.kindsMany[kind]] as const),
          ]}
          onValue={(kind) => setWanted({ ...wanted, kind: kind as Wanted["kind"], skip: 0 })}
        />
      </form>
      <Problem error={loaded.error} retry={loaded.reload} />
      {!list && !loaded.error && <Loading lines={8} />}
      {list && (
        <Card flush>
          {list.conversations.length ? (
            <List lines={list.conversations} stale={loaded.loading && !loaded.data} />
          ) : (
            <Empty icon="search">{isFiltered ? t.conversations.nothing : t.conversations.nothingYet}</Empty>
          )}
          {(wanted.skip > 0 || list.more) && (
            <nav class="pager" aria-label={t.conversations.title}>
              <Button
                icon="back"
                disabled={wanted.skip === 0}
                onClick={() => setWanted({ ...wanted, skip: Math.max(0, wanted.skip - PAGE) })}
              >
                {t.conversations.previous}
              </Button>
              <span role="status">
                {t.conversations.range(wanted.skip + 1, wanted.skip + list.conversations.length)}
              </span>
              <Button
                icon="next"
                disabled={!list.more}
                onClick={() => setWanted({ ...wanted, skip: wanted.skip + PAGE })}
              >
                {t.conversations.next}
              </Button>
            </nav>
          )}
        </Card>
      )}
    </>
  );
}

function List({ lines, stale }: { lines: ConversationLine[]; stale: boolean }) {
  return (
    <div class={stale ? "stale" : undefined}>
      <Table
        caption={t.conversations.title}
        rows={lines}
        name={(line) => line.id}
        columns={[
          {
            head: t.common.name,
            main: true,
            cell: (line) => (
              <a class="named" href={href(["conversations", line.id])}>
                <span class="name">
                  {line.name ? <Theirs text={line.name} /> : <i class="faint">{t.conversations.unnamed}</i>}
                </span>
                <span class="code faint">{line.id}</span>
              </a>
            ),
          },
          { head: t.common.kind, cell: (line) => <KindBadge kind={line.kind} /> },
          { head: t.conversations.members, number: true, cell: (line) => count(line.members) },
          {
            head: t.conversations.creator,
            cell: (line) =>
              line.creator ? (
                <span class="clip">
                  <Theirs text={line.creator} />
                </span>
              ) : (
                <span class="faint">–</span>
              ),
          },
          { head: t.conversations.lastMessage, cell: (line) => <Time at={line.last_message_at} /> },
        ]}
      />
    </div>
  );
}
