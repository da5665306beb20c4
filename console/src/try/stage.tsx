/** What a viewer of the chat room sees: bullet comments that fly by, and gifts. */

import { useEffect, useRef } from "preact/hooks";

import { total, type Seat } from "./hall";
import type { Priority } from "./ground";
import { w } from "./words";
import type { Bullet } from "./worker";

const LANE_PIXELS = 24;
/** All go at the same speed: none runs into the one before. */
const PIXELS_PER_MILLI = 0.065;
const GAP_PIXELS = 26;
const GIFTS_MAX = 2;
const GIFT_MILLIS = 2_800;
/** Who hears nothing for so long has nothing to catch up with. */
const QUIET_MILLIS = 2_000;
/** Less than that is what the way takes. */
const BEHIND_MILLIS = 500;

export function Stage({ seat, name, slow }: { seat: Seat; name: string; slow: boolean }) {
  const t = w();
  const stage = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = stage.current;
    if (!element) return;
    const play = player(element);
    seat.onBullets = (bullets, mine) => bullets.forEach((one) => play(one, mine));
    return () => void (seat.onBullets = undefined);
  }, [seat]);
  const isBehind = seat.age > BEHIND_MILLIS && performance.now() - seat.heardAt < QUIET_MILLIS;
  return (
    <figure class={`stage ${slow ? "slow" : ""}`}>
      <div class="screen" ref={stage} aria-hidden="true" />
      <figcaption>
        <b>{name}</b>
        <span class="stage-facts">
          {seat.trouble ? (
            <span class="bad-text" dir="auto">
              {seat.trouble}
            </span>
          ) : !seat.ready ? (
            <span>{t.starting}</span>
          ) : (
            <>
              <span data-seen={total(seat.counts)}>{t.seen(total(seat.counts).toLocaleString())}</span>
              <span class={isBehind ? "late" : "in-time"} data-age={seat.age}>
                {isBehind ? t.behind((seat.age / 1_000).toFixed(1)) : t.current}
              </span>
            </>
          )}
        </span>
      </figcaption>
    </figure>
  );
}

/** Shows bullets where there is room for them; the figures count them all. */
function player(stage: HTMLElement): (bullet: Bullet, mine: boolean) => void {
  const free: number[] = [];
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let gifts = 0;
  const shelf = document.createElement("div");
  shelf.className = "shelf";
  stage.replaceChildren(shelf);
  return ({ text, priority }, mine) => {
    if (priority === "high") {
      if (gifts >= GIFTS_MAX) return;
      gifts += 1;
      const card = piece("gift-card", text, priority, mine);
      shelf.append(card);
      const frames = still.matches
        ? [{ opacity: 1 }, { opacity: 1 }]
        : [
            { opacity: 0, transform: "translateY(14px) scale(.9)" },
            { opacity: 1, transform: "none", offset: 0.12 },
            { opacity: 1, transform: "none", offset: 0.85 },
            { opacity: 0, transform: "translateY(-10px)" },
          ];
      card.animate(frames, { duration: GIFT_MILLIS, easing: "ease-out" }).onfinish = () => {
        gifts -= 1;
        card.remove();
      };
      return;
    }
    const now = performance.now();
    const lanes = Math.max(1, Math.floor((stage.clientHeight - 8) / LANE_PIXELS));
    const open = [];
    for (let lane = 0; lane < lanes; lane += 1) if ((free[lane] ?? 0) <= now) open.push(lane);
    const lane = open[Math.floor(Math.random() * open.length)];
    if (lane === undefined && !mine) return;
    const bullet = piece("bullet", text, priority, mine);
    bullet.style.top = `${4 + (lane ?? 0) * LANE_PIXELS}px`;
    stage.append(bullet);
    const width = stage.clientWidth;
    const length = bullet.offsetWidth;
    free[lane ?? 0] = now + (length + GAP_PIXELS) / PIXELS_PER_MILLI;
    const frames = still.matches ? [{ transform: "none" }, { transform: "none" }] : [{ transform: `translateX(${width}px)` }, { transform: `translateX(${-length}px)` }];
    bullet.animate(frames, { duration: (width + length) / PIXELS_PER_MILLI }).onfinish = () => bullet.remove();
  };
}

function piece(kind: string, text: string, priority: Priority, mine: boolean): HTMLElement {
  const element = document.createElement("span");
  element.className = `${kind} ${priority} ${mine ? "own" : ""}`;
  element.textContent = text;
  return element;
}
