/** The chat room: two stages, what floods and slows it, and the ledger. */

import { useId, useState } from "preact/hooks";

import { Button } from "../parts/basics";
import { Account } from "./account";
import { Glyph } from "./glyph";
import { RATE_MAX, type Hall } from "./hall";
import { Stage } from "./stage";
import { w } from "./words";

export function Room({ hall }: { hall: Hall }) {
  const t = w();
  const id = useId();
  const [text, setText] = useState("");
  return (
    <section class="card room" aria-labelledby={`${id}-title`}>
      <header class="room-head">
        <Glyph name="hash" />
        <h2 id={`${id}-title`}>{t.room}</h2>
        {hall.refused > 0 && <span class="hint">{t.refused(hall.refused.toLocaleString())}</span>}
      </header>
      <div class="stages">
        <Stage seat={hall.seats[0]} name={t.stages[0]!} slow={false} />
        <Stage seat={hall.seats[1]} name={t.stages[1]!} slow={hall.throttled} />
      </div>
      <div class="desk">
        <form
          class="bullet-form"
          onSubmit={(event) => {
            event.preventDefault();
            if (!text.trim()) return;
            hall.say(text.trim(), "low", false);
            setText("");
          }}
        >
          <input type="text" value={text} maxLength={80} autocomplete="off" enterkeyhint="send" aria-label={t.bullet} placeholder={t.bullet} onInput={(event) => setText(event.currentTarget.value)} />
          <button type="submit" class="send" aria-label={t.throw} title={t.throw} aria-disabled={!text.trim()}>
            <Glyph name="send" />
          </button>
          <Button onClick={() => hall.say(t.giftText, "high", true)}>
            <span class="with-glyph">
              <Glyph name="gift" />
              {t.gift}
            </span>
          </Button>
        </form>
        <div class="knobs">
          <div class="knob">
            <label for={`${id}-rate`}>{t.flood}</label>
            <output for={`${id}-rate`}>{t.perSecond(hall.rate)}</output>
            <input
              id={`${id}-rate`}
              type="range"
              min={0}
              max={RATE_MAX}
              step={10}
              value={hall.rate}
              aria-valuetext={t.perSecond(hall.rate)}
              onInput={(event) => hall.flood(Number(event.currentTarget.value))}
            />
          </div>
          <div class="knob">
            <label class="switch">
              <input type="checkbox" role="switch" checked={hall.throttled} aria-describedby={`${id}-note`} onChange={(event) => hall.throttle(event.currentTarget.checked)} />
              <span>{t.throttle}</span>
            </label>
            <p class="hint" id={`${id}-note`}>
              {t.throttleNote}
            </p>
          </div>
        </div>
        {hall.inVain && (
          <p class="in-vain" role="status">
            {t.inVain}
          </p>
        )}
        {hall.trouble && (
          <p class="phone-trouble" role="alert" dir="auto">
            {hall.trouble}
          </p>
        )}
      </div>
      <Account hall={hall} />
    </section>
  );
}
