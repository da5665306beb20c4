/** Hooks: where they run, how they fare, a test of each, and the last calls. */

import { useState } from "preact/hooks";

import { hooks as askHooks, testHook, type HookState, type HookTest } from "../api";
import { usePlace } from "../context";
import { compact, count, milliseconds } from "../format";
import { said, t } from "../i18n";
import { useAction, useLoad } from "../load";
import {
  Badge,
  Button,
  Card,
  Empty,
  Fact,
  Facts,
  IconButton,
  Json,
  Loading,
  Problem,
  Theirs,
  Time,
  type Tone,
} from "../parts/basics";
import { Dialog } from "../parts/dialog";
import { Table } from "../parts/table";

const tone = (outcome: string): Tone =>
  outcome === "ok" ? "good" : /slot|drop|open|breaker/.test(outcome) ? "warn" : "bad";

export function HooksPanel() {
  const { app } = usePlace();
  const loaded = useLoad(`hooks ${app}`, (signal) => askHooks(app, signal));
  const [tested, setTested] = useState<string | null>(null);
  const refresh = <IconButton icon="refresh" label={t.common.refresh} onClick={loaded.reload} />;
  const found = loaded.data;
  if (!found) {
    return (
      <Card title={t.hooks.state} side={refresh}>
        {loaded.error ? <Problem error={loaded.error} retry={loaded.reload} /> : <Loading lines={5} />}
      </Card>
    );
  }
  return (
    <>
      <Card title={t.hooks.engines} side={refresh}>
        {found.engines.length ? (
          <Facts>
            {found.engines.map((engine) => (
              <Fact key={engine.name} name={engine.name}>
                {t.hooks.defines(engine.defined.length)}
              </Fact>
            ))}
          </Facts>
        ) : (
          <p class="faint">{t.hooks.noEngines}</p>
        )}
      </Card>
      <Card title={t.hooks.state} flush>
        <Table
          caption={t.hooks.state}
          rows={found.hooks}
          name={(hook) => hook.name}
          columns={[
            { head: t.hooks.hook, main: true, cell: (hook) => <span class="code">{hook.name}</span> },
            { head: t.common.state, bare: true, cell: (hook) => <State hook={hook} /> },
            { head: t.hooks.calls, cell: (hook) => <Calls calls={hook.calls} /> },
            {
              head: t.common.actions,
              bare: true,
              cell: (hook) => (
                <Button
                  small
                  icon="play"
                  disabled={!hook.defined}
                  aria-label={`${t.hooks.test} ${hook.name}`}
                  onClick={() => setTested(hook.name)}
                >
                  {t.hooks.test}
                </Button>
              ),
            },
          ]}
        />
      </Card>
      <Card title={t.hooks.recent} flush>
        {found.recent.length ? (
          <Table
            caption={t.hooks.recent}
            rows={[...found.recent].sort((one, other) => other.at - one.at)}
            name={(call, index) => `${call.at} ${index}`}
            columns={[
              { head: t.common.at, cell: (call) => <Time at={call.at} /> },
              { head: t.hooks.hook, main: true, cell: (call) => <span class="code">{call.hook}</span> },
              { head: t.hooks.engine, cell: (call) => <Theirs text={call.engine} /> },
              { head: t.hooks.took, number: true, cell: (call) => milliseconds(call.milliseconds) },
              {
                head: t.hooks.outcome,
                cell: (call) => (
                  <Badge tone={tone(call.outcome)} title={call.problem || ""}>
                    {said(t.hooks.outcomes, call.outcome)}
                  </Badge>
                ),
              },
            ]}
          />
        ) : (
          <Empty icon="play">{t.hooks.noRecent}</Empty>
        )}
      </Card>
      {tested !== null && (
        <TestDialog
          hook={tested}
          onClose={() => {
            setTested(null);
            loaded.reload();
          }}
        />
      )}
    </>
  );
}

function State({ hook }: { hook: HookState }) {
  if (hook.breaker_open) {
    return (
      <Badge tone="bad" title={t.hooks.breakerHint}>
        {t.hooks.breaker}
      </Badge>
    );
  }
  return hook.defined ? <Badge tone="good">{t.hooks.defined}</Badge> : <span class="faint">{t.hooks.undefined}</span>;
}

function Calls({ calls }: { calls: Record<string, number> }) {
  const some = Object.entries(calls).filter(([, many]) => many > 0);
  if (!some.length) return <span class="faint">–</span>;
  return (
    <span class="badges">
      {some.map(([outcome, many]) => (
        <Badge key={outcome} tone={tone(outcome)} title={count(many)}>
          {said(t.hooks.outcomes, outcome)} {compact(many)}
        </Badge>
      ))}
    </span>
  );
}

function TestDialog({ hook, onClose }: { hook: string; onClose: () => void }) {
  const { app } = usePlace();
  const [result, setResult] = useState<HookTest | null>(null);
  const action = useAction();
  return (
    <Dialog title={t.hooks.testing(hook)} onClose={onClose}>
      <p class="hint">{t.hooks.testHow}</p>
      <Problem error={action.error} />
      <div aria-live="polite">
        {result && (
          <>
            <Facts>
              <Fact name={t.hooks.outcome}>
                <Badge tone={tone(result.outcome)}>{said(t.hooks.outcomes, result.outcome)}</Badge>
              </Fact>
              <Fact name={t.hooks.took}>{milliseconds(result.milliseconds)}</Fact>
              {result.problem && (
                <Fact name={t.hooks.problem}>
                  <Theirs text={result.problem} />
                </Fact>
              )}
            </Facts>
            {result.answer !== undefined && result.answer !== null && (
              <>
                <h3>{t.hooks.answer}</h3>
                <Json value={result.answer} label={t.hooks.answer} />
              </>
            )}
          </>
        )}
      </div>
      <footer>
        <Button onClick={onClose}>{t.common.close}</Button>
        <Button
          kind="primary"
          icon="play"
          busy={action.busy}
          onClick={() => void action.run(async () => setResult(await testHook(app, hook)))}
        >
          {t.hooks.test}
        </Button>
      </footer>
    </Dialog>
  );
}
