/** What was shed, by priority and reason. */

import type { Priority, TopRoom } from "../api";
import { compact, count } from "../format";
import { said, t } from "../i18n";
import { Badge } from "./basics";

const PRIORITIES: Priority[] = ["high", "normal", "low"];

export function Shed({ shed }: { shed: TopRoom["shed"] }) {
  const rows = PRIORITIES.map((priority) => ({
    priority,
    reasons: Object.entries(shed[priority] ?? {}).filter(([, many]) => many > 0),
  })).filter((row) => row.reasons.length);
  if (!rows.length) return <span class="faint">{t.live.nothing}</span>;
  return (
    <ul class="shed">
      {rows.map(({ priority, reasons }) => (
        <li key={priority}>
          <Badge tone={priority === "high" ? "bad" : priority === "normal" ? "warn" : "plain"}>
            {t.live.priorities[priority]}
          </Badge>
          {reasons.map(([reason, many]) => (
            <span key={reason} title={count(many)}>
              {said(t.live.reasons, reason)} <b>{compact(many)}</b>
            </span>
          ))}
        </li>
      ))}
    </ul>
  );
}
