/** The server now: figures, graphs that move, and the chat rooms that are busiest. Asks once a second while it is seen. */

import { useEffect, useState } from "preact/hooks";

import { live, type Live, type TopRoom } from "../api";
import { bytes, compact, count, figure, milliseconds, percent, span } from "../format";
import { said, t } from "../i18n";
import { useLink } from "../link";
import { Badge, Card, Empty, Head, Loading, Theirs } from "../parts/basics";
import { Choice } from "../parts/field";
import { Graph } from "../parts/graph";
import { Shed } from "../parts/shed";
import { Table } from "../parts/table";
import { href } from "../route";

const PERIOD_MS = 1_000;
const KEPT_SECONDS = 900;

interface Moment {
  /** Seconds since the epoch. */
  at: number;
  values: Record<Series, number | null>;
}

type Series =
  | "sends"
  | "deliveries"
  | "room_deliveries"
  | "shed"
  | "pushes"
  | "hook_calls"
  | "refusals"
  | "ack_p50"
  | "ack_p99"
  | "commit_p99"
  | "lag"
  | "lag_p99"
  | "connections"
  | "sessions";

/** Kept while other pages are shown, so that the graphs are there again when one comes back. */
const past: Moment[] = [];
let newest: Live | null = null;

const TOTALS = ["sends", "deliveries", "room_deliveries", "shed", "pushes", "hook_calls", "refusals"] as const;

function add(reading: Live): void {
  const before = newest;
  if (before && reading.at <= before.at) return;
  newest = reading;
  if (before && before.since !== reading.since) past.length = 0; // another run of the server: its totals began anew
  const seconds = before ? (reading.at - before.at) / 1_000 : 0;
  const isNext = before !== null && before.since === reading.since && seconds < 5;
  const at = reading.at / 1_000;
  const none = (moment: number): Moment => ({ at: moment, values: {} as Moment["values"] });
  // A hole in the lines, rather than a straight one over what nobody saw.
  if (before && !isNext && past.length) past.push(none(past[past.length - 1]!.at + 0.5));
  const values = {
    ack_p50: reading.ack_ms.count ? reading.ack_ms.p50 : null,
    ack_p99: reading.ack_ms.count ? reading.ack_ms.p99 : null,
    commit_p99: reading.commit_ms.count ? reading.commit_ms.p99 : null,
    lag: reading.lag_ms.last,
    lag_p99: reading.lag_ms.p99,
    connections: reading.connections.tcp + reading.connections.websocket,
    sessions: reading.sessions,
  } as Moment["values"];
  for (const name of TOTALS) {
    values[name] = isNext ? Math.max(0, (reading.totals[name] - before.totals[name]) / seconds) : null;
  }
  past.push({ at, values });
  while (past.length && past[0]!.at < at - KEPT_SECONDS) past.shift();
}

/** Reads while the page is seen and the server answers; a reading that is late is not asked for twice. */
function useReadings(): { reading: Live | null; isPaused: boolean } {
  const [, drawn] = useState(0);
  const [isPaused, setPaused] = useState(document.hidden);
  const { up, times } = useLink();
  useEffect(() => {
    const changed = () => setPaused(document.hidden);
    document.addEventListener("visibilitychange", changed);
    return () => document.removeEventListener("visibilitychange", changed);
  }, []);
  useEffect(() => {
    if (isPaused || !up) return;
    const given = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const turn = async () => {
      const begun = performance.now();
      try {
        add(await live(given.signal));
        drawn((turns) => turns + 1);
      } catch {
        // Whether the server is lost or the session over is said elsewhere.
      }
      if (!given.signal.aborted) timer = setTimeout(turn, Math.max(100, PERIOD_MS - (performance.now() - begun)));
    };
    void turn();
    return () => {
      given.abort();
      clearTimeout(timer);
    };
  }, [isPaused, up, times]);
  return { reading: newest, isPaused };
}

const rate = (value: number | null) => figure(value);

export function LivePage() {
  const { reading, isPaused } = useReadings();
  const [minutes, setMinutes] = useState(5);
  const now = past[past.length - 1]?.values;
  const title = t.live.title;
  if (!reading) {
    return (
      <>
        <Head title={title} />
        <Loading lines={8} />
      </>
    );
  }
  const { totals, connections } = reading;
  const times = past.map((moment) => moment.at);
  const line = (name: string, colour: string, series: Series) => ({
    name,
    colour,
    values: past.map((moment) => moment.values[series] ?? null),
  });
  const shared = { times, seconds: minutes * 60 };
  return (
    <>
      <Head title={title} lead={isPaused ? t.live.paused : t.live.up(span(reading.at - reading.since))}>
        <Choice
          label={t.live.window}
          value={minutes}
          options={[1, 5, 15].map((many) => [many, t.live.minutes(many)] as const)}
          onValue={setMinutes}
        />
      </Head>
      <div class="tiles">
        <Tile
          name={t.live.connections}
          value={count(connections.tcp + connections.websocket)}
          sub={t.live.doors(count(connections.tcp), count(connections.websocket))}
        />
        <Tile name={t.live.sessions} value={count(reading.sessions)} sub={t.live.rooms(count(reading.rooms))} />
        <Tile
          name={t.live.sends}
          unit={t.live.perSecondShort}
          value={rate(now?.sends ?? null)}
          sub={t.live.inAll(compact(totals.sends))}
        />
        <Tile
          name={t.live.deliveries}
          unit={t.live.perSecondShort}
          value={rate(now?.deliveries ?? null)}
          sub={t.live.fanOut(rate(now?.room_deliveries ?? null))}
        />
        <Tile
          name={t.live.ack}
          unit={t.live.p99}
          value={milliseconds(now?.ack_p99)}
          sub={`${t.live.p50} ${milliseconds(now?.ack_p50)}`}
        />
        <Tile
          name={t.live.commit}
          unit={t.live.p99}
          value={milliseconds(now?.commit_p99)}
          sub={`${t.live.p50} ${milliseconds(reading.commit_ms.count ? reading.commit_ms.p50 : null)}`}
        />
        <Tile
          name={t.live.lag}
          unit={t.live.last}
          value={milliseconds(reading.lag_ms.last)}
          sub={`${t.live.p99} ${milliseconds(reading.lag_ms.p99)}`}
        />
        <Tile
          name={t.live.memory}
          value={bytes(reading.memory_bytes)}
          sub={t.live.own(percent(reading.console_cpu_share))}
        />
      </div>
      <dl class="strip">
        {(["shed", "refusals", "pushes", "hook_calls"] as const).map((name) => (
          <div key={name}>
            <dt>
              {
                { shed: t.live.shed, refusals: t.live.refusals, pushes: t.live.pushes, hook_calls: t.live.hookCalls }[
                  name
                ]
              }
            </dt>
            <dd>
              <b>{rate(now?.[name] ?? null)}</b> {t.live.perSecondShort}{" "}
              <span class="faint">· {t.live.inAll(compact(totals[name]))}</span>
            </dd>
          </div>
        ))}
      </dl>
      <h2 class="unseen">{t.live.graphs}</h2>
      <div class="graphs">
        <Graph
          {...shared}
          title={t.live.graphMessages}
          format={rate}
          least={5}
          lines={[line(t.live.sends, "--line-1", "sends")]}
        />
        <Graph
          {...shared}
          title={t.live.graphDeliveries}
          format={rate}
          least={5}
          lines={[
            line(t.live.deliveries, "--line-1", "deliveries"),
            line(t.live.toRooms, "--line-2", "room_deliveries"),
          ]}
        />
        <Graph
          {...shared}
          title={t.live.graphLatency}
          format={milliseconds}
          least={2}
          lines={[
            line(`${t.live.ackShort} p50`, "--line-1", "ack_p50"),
            line(`${t.live.ackShort} p99`, "--line-2", "ack_p99"),
            line(`${t.live.commitShort} p99`, "--line-3", "commit_p99"),
          ]}
        />
        <Graph
          {...shared}
          title={t.live.graphLag}
          format={milliseconds}
          least={2}
          lines={[line(t.live.last, "--line-1", "lag"), line(t.live.p99, "--line-2", "lag_p99")]}
        />
        <Graph
          {...shared}
          title={t.live.graphConnections}
          format={count}
          least={10}
          lines={[line(t.live.connections, "--line-1", "connections"), line(t.live.sessions, "--line-2", "sessions")]}
        />
        <Graph
          {...shared}
          title={t.live.graphTurned}
          format={rate}
          least={1}
          lines={[line(t.live.shed, "--line-2", "shed"), line(t.live.refusals, "--line-3", "refusals")]}
        />
      </div>
      <Card title={t.live.topRooms} flush>
        {reading.top_rooms.length ? (
          <Rooms rooms={reading.top_rooms} />
        ) : (
          <Empty icon="conversations">{t.live.noRooms}</Empty>
        )}
      </Card>
    </>
  );
}

function Tile({ name, unit, value, sub }: { name: string; unit?: string; value: string; sub: string }) {
  return (
    <section class="tile" aria-label={name}>
      <p class="tile-name">
        {name} {unit && <span class="faint">{unit}</span>}
      </p>
      <p class="tile-value">{value}</p>
      <p class="tile-sub">{sub}</p>
    </section>
  );
}

function Rooms({ rooms }: { rooms: TopRoom[] }) {
  return (
    <Table
      caption={t.live.topRooms}
      rows={rooms}
      name={(room) => `${room.app} ${room.id}`}
      columns={[
        {
          head: t.live.room,
          main: true,
          cell: (room) => (
            <a class="named" href={href(["conversations", room.id], { app: room.app })}>
              <span class="name">
                {room.name ? <Theirs text={room.name} /> : <i class="faint">{t.live.unnamed}</i>}
              </span>
              <span class="code faint">{room.id}</span>
            </a>
          ),
        },
        { head: t.live.readers, number: true, cell: (room) => count(room.readers) },
        {
          head: t.live.messages,
          number: true,
          cell: (room) => <span title={count(room.messages)}>{compact(room.messages)}</span>,
        },
        {
          head: t.live.reached,
          hint: t.live.reachedHint,
          number: true,
          cell: (room) => (
            <span title={`${count(room.written)} / ${count(room.owed)}`}>
              {room.owed ? percent(Math.min(1, room.written / room.owed)) : "–"}
            </span>
          ),
        },
        { head: t.live.shedBy, cell: (room) => <Shed shed={room.shed} /> },
        { head: t.live.refused, cell: (room) => <Reasons reasons={room.refused} tone="warn" /> },
      ]}
    />
  );
}

function Reasons({ reasons, tone }: { reasons: Record<string, number>; tone: "warn" }) {
  const some = Object.entries(reasons).filter(([, many]) => many > 0);
  if (!some.length) return <span class="faint">{t.live.nothing}</span>;
  return (
    <span class="badges">
      {some.map(([reason, many]) => (
        <Badge key={reason} tone={tone} title={count(many)}>
          {said({ ...t.live.reasons, ...t.live.priorities }, reason)} {compact(many)}
        </Badge>
      ))}
    </span>
  );
}
