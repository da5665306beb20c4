/** The ledger of the chat room, in figures. */

import { PRIORITIES } from "./ground";
import { sum, total, type Hall } from "./hall";
import { w } from "./words";

const REASONS = ["shed_age", "shed_distance", "shed_sample", "shed_overrun"] as const;

export function Account({ hall }: { hall: Hall }) {
  const t = w();
  const { ledger } = hall;
  const waiting = sum(ledger, ["pending", "torn"]);
  const sent = sum(ledger, ["messages"]);
  const written = sum(ledger, ["written"]);
  const shed = hall.shed;
  const reasons = REASONS.map((name) => [name, total(sum(ledger, [name]))] as const).filter(([, number]) => number > 0);
  return (
    <section class="account" aria-labelledby="account-title">
      <div class="account-head">
        <h3 id="account-title">{t.ledger}</h3>
        <p class="hint">{t.ledgerNote(ledger?.readers ?? 0)}</p>
      </div>
      <table class="figures">
        <thead>
          <tr>
            <th scope="col">{t.columns.priority}</th>
            <th scope="col">{t.columns.sent}</th>
            <th scope="col">{t.columns.delivered}</th>
            <th scope="col">{t.columns.shed}</th>
            <th scope="col">{t.columns.waiting}</th>
            <th scope="col" class="share-column">
              {t.columns.share}
            </th>
          </tr>
        </thead>
        <tbody>
          {PRIORITIES.map((name) => (
            <tr key={name} data-priority={name}>
              <th scope="row">
                <span class={`swatch-dot ${name}`} />
                {t.priorities[name]}
              </th>
              <td data-sent={sent[name]}>{sent[name].toLocaleString()}</td>
              <td data-written={written[name]}>{written[name].toLocaleString()}</td>
              <td data-shed={shed[name]} class={shed[name] ? "has-shed" : ""}>
                {shed[name].toLocaleString()}
              </td>
              <td>{waiting[name].toLocaleString()}</td>
              <td class="share-column">
                <Share parts={[written[name], waiting[name], shed[name]]} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="reasons">
        <b>{t.reasons}</b>{" "}
        {reasons.length === 0 ? (
          <span class="faint">{t.none}</span>
        ) : (
          reasons.map(([name, number]) => (
            <span key={name} class="reason">
              {t.reason[name]} <b>{number.toLocaleString()}</b>
            </span>
          ))
        )}
      </p>
    </section>
  );
}

/** Delivered, waiting and shed, of all that was owed. */
function Share({ parts }: { parts: [number, number, number] }) {
  const all = parts[0] + parts[1] + parts[2];
  let from = 0;
  return (
    <svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <rect class="share-ground" width="100" height="8" />
      {all > 0 &&
        parts.map((part, place) => {
          const width = (100 * part) / all;
          const rect = <rect key={place} class={["share-sent", "share-waiting", "share-shed"][place]} x={from} width={width} height="8" />;
          from += width;
          return rect;
        })}
    </svg>
  );
}
