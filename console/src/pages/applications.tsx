import { useState } from "preact/hooks";

import {
  applications as askApplications,
  createApplication,
  keys as askKeys,
  rotateKey,
  type Application,
  type KeyName,
  type Keys,
} from "../api";
import { usePlace } from "../context";
import { count, isolate } from "../format";
import { t } from "../i18n";
import { useAction, useLoad } from "../load";
import { Badge, Button, Card, Copy, Empty, Head, Loading, Problem, Time } from "../parts/basics";
import { Confirm, Dialog } from "../parts/dialog";
import { TextField } from "../parts/field";
import { notice } from "../parts/notice";
import { Table } from "../parts/table";
import { href } from "../route";

const WHICH: KeyName[] = ["key", "master_key", "hook_key"];

const nameOf = (which: KeyName): string =>
  ({ key: t.applications.key, master_key: t.applications.master, hook_key: t.applications.hook })[which];

export function ApplicationsPage() {
  const place = usePlace();
  const loaded = useLoad("applications page", askApplications);
  const [asking, setAsking] = useState<string | null>(null);
  const [shown, setShown] = useState<{ id: string; keys: Keys; isNew: boolean } | null>(null);
  const [creating, setCreating] = useState(false);
  const reload = () => {
    loaded.reload();
    place.reloadApplications();
  };
  return (
    <>
      <Head title={t.applications.title} lead={t.applications.lead}>
        <Button kind="primary" icon="plus" onClick={() => setCreating(true)}>
          {t.applications.create}
        </Button>
      </Head>
      <Problem error={loaded.error} retry={loaded.reload} />
      {!loaded.data && !loaded.error && <Loading lines={4} />}
      {loaded.data && (
        <Card flush>
          {loaded.data.length ? (
            <List applications={loaded.data} app={place.app} onKeys={setAsking} />
          ) : (
            <Empty icon="applications">{t.shell.noApplication}</Empty>
          )}
        </Card>
      )}
      {creating && (
        <CreateDialog
          onClose={() => setCreating(false)}
          onCreated={({ id, ...keys }) => {
            setCreating(false);
            setShown({ id, keys, isNew: true });
            reload();
          }}
        />
      )}
      {asking !== null && (
        <Confirm
          title={t.applications.showTitle(isolate(asking))}
          how={t.applications.showHow}
          act={t.applications.showNow}
          danger={false}
          onConfirm={async () => setShown({ id: asking, keys: await askKeys(asking), isNew: false })}
          onClose={() => setAsking(null)}
        />
      )}
      {shown && (
        <KeysDialog
          {...shown}
          onRotated={(keys) => {
            setShown({ ...shown, keys: { ...shown.keys, ...keys } });
            reload();
          }}
          onClose={() => setShown(null)}
        />
      )}
    </>
  );
}

function List({
  applications,
  app,
  onKeys,
}: {
  applications: Application[];
  app: string;
  onKeys: (id: string) => void;
}) {
  return (
    <Table
      caption={t.applications.title}
      rows={applications}
      name={(one) => one.id}
      columns={[
        {
          head: "ID",
          main: true,
          cell: (one) => (
            <span class="named">
              <span class="name">
                {one.id}{" "}
                {one.id === app && applications.length > 1 && <Badge tone="accent">{t.applications.switchTo}</Badge>}
              </span>
              <span class="code faint">{one.key}</span>
            </span>
          ),
        },
        {
          head: t.applications.master,
          cell: (one) => <span class="code faint">{t.applications.ends(one.master_key_hint)}</span>,
        },
        { head: t.applications.sessions, number: true, cell: (one) => count(one.sessions) },
        { head: t.applications.stored, number: true, cell: (one) => count(one.settings_stored) },
        ...(applications.some((one) => one.created_at)
          ? [{ head: t.conversations.created, cell: (one: Application) => <Time at={one.created_at} /> }]
          : []),
        {
          head: t.common.actions,
          bare: true,
          cell: (one) => (
            <span class="row end">
              <a class="button plain small" href={href(["settings"], { app: one.id })}>
                {t.applications.settings}
              </a>
              <Button small icon="key" onClick={() => onKeys(one.id)} aria-label={`${t.applications.show}: ${one.id}`}>
                {t.applications.show}
              </Button>
            </span>
          ),
        },
      ]}
    />
  );
}

function CreateDialog({
  onClose,
  onCreated,
}: {
  onClose: () => void;
  onCreated: (made: Keys & { id: string }) => void;
}) {
  const [id, setId] = useState("");
  const action = useAction();
  return (
    <Dialog title={t.applications.create} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(async () => onCreated(await createApplication(id.trim())));
        }}
      >
        <TextField
          label={`${t.applications.createId} (${t.common.optional})`}
          hint={t.applications.createHow}
          value={id}
          onValue={setId}
          pattern="[A-Za-z0-9._\-]{9,64}"
          autocomplete="off"
          spellcheck={false}
          autofocus
        />
        <Problem error={action.error} />
        <footer>
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button kind="primary" type="submit" busy={action.busy}>
            {t.applications.createNow}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

function KeysDialog({
  id,
  keys,
  isNew,
  onRotated,
  onClose,
}: {
  id: string;
  keys: Keys;
  isNew: boolean;
  onRotated: (keys: Keys) => void;
  onClose: () => void;
}) {
  const [rotating, setRotating] = useState<KeyName | null>(null);
  const [typed, setTyped] = useState("");
  if (rotating) {
    return (
      <Confirm
        title={t.applications.rotateTitle(nameOf(rotating))}
        how={t.applications.rotateHow[rotating]}
        act={t.applications.rotateNow}
        ready={typed === id}
        onConfirm={async () => {
          onRotated(await rotateKey(id, rotating));
          notice(t.applications.rotated(nameOf(rotating)));
        }}
        onClose={() => {
          setRotating(null);
          setTyped("");
        }}
      >
        <TextField
          label={t.applications.rotateType(isolate(id))}
          value={typed}
          onValue={setTyped}
          autocomplete="off"
          spellcheck={false}
          autofocus
        />
      </Confirm>
    );
  }
  return (
    <Dialog
      wide
      title={isNew ? t.applications.created(isolate(id)) : t.applications.keysOf(isolate(id))}
      onClose={onClose}
    >
      <p class="hint">{t.applications.keysOnce}</p>
      <ul class="keys">
        {[["ID", id] as const, ...WHICH.map((which) => [which, keys[which]] as const)].map(([which, key]) => {
          const name = which === "ID" ? "App ID" : nameOf(which);
          return (
            <li key={which}>
              <div>
                <span class="key-name">{name}</span>
                <span class="code">{key}</span>
              </div>
              <Copy text={key} label={name} />
              {which !== "ID" && !isNew && (
                <Button
                  small
                  kind="quiet"
                  aria-label={`${t.applications.rotate} ${name}`}
                  onClick={() => setRotating(which)}
                >
                  {t.applications.rotate}
                </Button>
              )}
            </li>
          );
        })}
      </ul>
      <footer>
        <Button kind="primary" onClick={onClose}>
          {t.common.close}
        </Button>
      </footer>
    </Dialog>
  );
}
