/** Push: what is pushed when nobody says what, with a preview; the providers, and a test send. */

import { useEffect, useState } from "preact/hooks";

import { previewPush, push as askPush, Refused, testPush, type PushPreview, type Setting } from "../api";
import { usePlace } from "../context";
import { count } from "../format";
import { said, t } from "../i18n";
import { useAction, useLoad } from "../load";
import { Badge, Button, Card, Empty, IconButton, Json, Loading, Problem, Theirs, type Tone } from "../parts/basics";
import { Choice, TextField } from "../parts/field";
import { Table } from "../parts/table";
import { rawOf, SettingRow, toValue, type Edit } from "./setting";

const PAUSE_MS = 400;

export function StaticPush({
  setting,
  edit,
  error,
  onEdit,
}: {
  setting: Setting;
  edit: Edit | undefined;
  error: string | undefined;
  onEdit: (edit: Edit | null) => void;
}) {
  const { app } = usePlace();
  const raw = String(edit ? (edit.forget ? rawOf(setting, setting.default) : edit.raw) : rawOf(setting));
  const [preview, setPreview] = useState<PushPreview | null>(null);
  const [problem, setProblem] = useState("");
  const made = toValue(setting, raw);
  const isJson = "value" in made;

  useEffect(() => {
    if (!isJson) return;
    let isOver = false;
    const timer = setTimeout(async () => {
      try {
        const found = await previewPush(app, { static: raw });
        if (!isOver) {
          setPreview(found);
          setProblem("");
        }
      } catch (failure) {
        if (!isOver) setProblem(failure instanceof Refused ? failure.message : t.common.unreachable);
      }
    }, PAUSE_MS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [app, raw, isJson]);

  const says = error ?? ("error" in made ? made.error : problem || undefined);
  return (
    <Card title={t.push.static} hint={t.push.staticHow} flush>
      <SettingRow setting={setting} edit={edit} error={says} onEdit={onEdit}>
        {isJson && raw.trim() !== "" && setting.source !== "pinned" && (
          <div class="row">
            <Button small onClick={() => onEdit({ raw: JSON.stringify(JSON.parse(raw), null, 2) })}>
              {t.push.format}
            </Button>
          </div>
        )}
      </SettingRow>
      <div class="previews" aria-live="polite">
        {(["ios", "android", "webhook"] as const).map((device) => (
          <section key={device} class="preview" aria-label={`${t.push.preview} ${t.push.previewOf[device]}`}>
            <h3>{t.push.previewOf[device]}</h3>
            <Preview content={preview?.[device]} device={t.push.previewOf[device]} />
          </section>
        ))}
      </div>
    </Card>
  );
}

/** As a device shows it, roughly, and what it is sent. */
function Preview({ content, device }: { content: unknown; device: string }) {
  const value = typeof content === "string" ? readJson(content) : content;
  if (value === null || value === undefined || value === "") return <p class="faint">{t.push.previewNothing}</p>;
  const { title, body } = shownOf(value);
  return (
    <>
      {(title || body) && (
        <div class="push-card">
          {title && (
            <b>
              <Theirs text={title} />
            </b>
          )}
          {body && (
            <span>
              <Theirs text={body} />
            </span>
          )}
        </div>
      )}
      <Json value={value} label={device} />
    </>
  );
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function shownOf(value: unknown): { title: string; body: string } {
  if (typeof value !== "object" || value === null) return { title: "", body: String(value) };
  const fields = value as Record<string, unknown>;
  const inner = (fields["aps"] ?? fields["notification"] ?? fields["data"] ?? fields) as Record<string, unknown>;
  const alert = inner["alert"] ?? fields["alert"];
  const text = (one: unknown) => (typeof one === "string" ? one : "");
  if (typeof alert === "object" && alert !== null) {
    const parts = alert as Record<string, unknown>;
    return { title: text(parts["title"]), body: text(parts["body"]) };
  }
  return { title: text(inner["title"] ?? fields["title"]), body: text(alert) || text(inner["body"]) };
}

export function PushPanel() {
  const { app } = usePlace();
  const loaded = useLoad(`push ${app}`, (signal) => askPush(app, signal));
  const found = loaded.data;
  return (
    <>
      <Card
        title={t.push.providers}
        side={<IconButton icon="refresh" label={t.common.refresh} onClick={loaded.reload} />}
        flush
      >
        {!found && (
          <div class="pad">
            {loaded.error ? <Problem error={loaded.error} retry={loaded.reload} /> : <Loading lines={3} />}
          </div>
        )}
        {found && (
          <>
            <dl class="strip inside">
              {Object.entries(found.waiting).map(([what, many]) => (
                <div key={what}>
                  <dt>
                    {t.push.waiting}: {said(t.push.waits, what)}
                  </dt>
                  <dd>
                    <b>{count(many)}</b>
                  </dd>
                </div>
              ))}
            </dl>
            {found.providers.length ? (
              <Table
                caption={t.push.providers}
                rows={found.providers}
                name={(provider) => provider.name}
                columns={[
                  { head: t.push.provider, main: true, cell: (provider) => provider.name },
                  {
                    head: t.common.state,
                    bare: true,
                    cell: (provider) => (
                      <Badge tone={provider.paused ? "warn" : "good"}>
                        {provider.paused ? t.push.paused : t.push.running}
                      </Badge>
                    ),
                  },
                  { head: t.push.sent, number: true, cell: (provider) => count(provider.sent) },
                  { head: t.push.failed, number: true, cell: (provider) => count(provider.failed) },
                ]}
              />
            ) : (
              <Empty icon="upload">{t.push.noProviders}</Empty>
            )}
          </>
        )}
      </Card>
      <TestSend />
    </>
  );
}

const outcomeTone = (outcome: string): Tone => (/^(sent|ok|accepted|delivered)$/.test(outcome) ? "good" : "bad");

function TestSend() {
  const { app } = usePlace();
  const [to, setTo] = useState<"client_id" | "installation_id">("client_id");
  const [id, setId] = useState("");
  const [text, setText] = useState(t.push.testText);
  const [result, setResult] = useState<{ outcome: string; says?: string | null } | null>(null);
  const action = useAction();
  return (
    <Card title={t.push.test} hint={t.push.testHow}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          setResult(null);
          if (id.trim())
            void action.run(async () =>
              setResult(
                await testPush(app, {
                  ...(to === "client_id" ? { client_id: id.trim() } : { installation_id: id.trim() }),
                  text,
                }),
              ),
            );
        }}
      >
        <Choice
          label={t.push.to}
          value={to}
          options={[
            ["client_id", t.push.toClient],
            ["installation_id", t.push.toInstallation],
          ]}
          onValue={setTo}
        />
        <div class="pair">
          <TextField
            label={to === "client_id" ? t.push.toClient : t.push.toInstallation}
            value={id}
            onValue={setId}
            required
            autocomplete="off"
          />
          <TextField label={t.push.text} value={text} onValue={setText} required />
        </div>
        <Problem error={action.error} />
        <div class="row" aria-live="polite">
          <Button kind="primary" type="submit" busy={action.busy}>
            {t.push.send}
          </Button>
          {result && (
            <>
              <Badge tone={outcomeTone(result.outcome)}>{said(t.push.outcomes, result.outcome)}</Badge>
              {result.says && <Theirs text={result.says} />}
            </>
          )}
        </div>
      </form>
    </Card>
  );
}
