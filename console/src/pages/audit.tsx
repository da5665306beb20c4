import { useState } from "preact/hooks";

import { audit } from "../api";
import { t } from "../i18n";
import { useLoad } from "../load";
import { Button, Card, Empty, Head, Loading, Problem, Theirs, Time } from "../parts/basics";
import { Icon } from "../parts/icon";
import { Table } from "../parts/table";

const STEP = 100;

export function AuditPage() {
  const [limit, setLimit] = useState(STEP);
  const [filter, setFilter] = useState("");
  const loaded = useLoad(`audit ${limit}`, (signal) => audit(limit, signal));
  const [kept, setKept] = useState(loaded.data);
  if (loaded.data && loaded.data !== kept) setKept(loaded.data);
  const lines = loaded.data ?? kept;
  const wanted = filter.trim().toLowerCase();
  const shown = (lines ?? []).filter(
    (line) =>
      !wanted ||
      [line.what, line.address, line.application ?? "", detailText(line.detail)].some((text) =>
        text.toLowerCase().includes(wanted),
      ),
  );
  return (
    <>
      <Head title={t.audit.title} lead={t.audit.lead}>
        <Button icon="refresh" onClick={loaded.reload}>
          {t.common.refresh}
        </Button>
      </Head>
      <Problem error={loaded.error} retry={loaded.reload} />
      {!lines && !loaded.error && <Loading lines={8} />}
      {lines && (
        <>
          <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
            <label class="search">
              <span class="unseen">{t.audit.filter}</span>
              <Icon name="search" />
              <input
                type="search"
                dir="auto"
                placeholder={t.audit.filter}
                value={filter}
                onInput={(event) => setFilter(event.currentTarget.value)}
              />
            </label>
          </form>
          <Card flush>
            {shown.length ? (
              <Table
                caption={t.audit.title}
                rows={shown}
                name={(line, index) => `${line.at} ${index}`}
                columns={[
                  { head: t.common.at, cell: (line) => <Time at={line.at} /> },
                  { head: t.audit.what, main: true, cell: (line) => <Theirs text={line.what} /> },
                  {
                    head: t.common.application,
                    cell: (line) =>
                      line.application ? (
                        <span class="code">
                          <Theirs text={line.application} />
                        </span>
                      ) : (
                        <span class="faint">–</span>
                      ),
                  },
                  {
                    head: t.audit.detail,
                    cell: (line) => {
                      const text = detailText(line.detail);
                      return text === "" ? null : (
                        <span class="detail">
                          <Theirs text={text} />
                        </span>
                      );
                    },
                  },
                  { head: t.audit.address, cell: (line) => <span class="code">{line.address}</span> },
                ]}
              />
            ) : (
              <Empty icon="audit">{lines.length ? t.audit.nothingFits : t.audit.nothing}</Empty>
            )}
            {lines.length >= limit && (
              <div class="pager">
                <Button busy={loaded.loading} onClick={() => setLimit(limit + STEP)}>
                  {t.audit.more}
                </Button>
              </div>
            )}
          </Card>
        </>
      )}
    </>
  );
}

function detailText(detail: unknown): string {
  if (detail === null || detail === undefined) return "";
  if (typeof detail === "string") return detail;
  if (typeof detail !== "object") return String(detail);
  return Object.entries(detail)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" · ");
}
