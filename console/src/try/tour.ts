/** Everything once, by itself, in less than a minute. */

import type { Hall } from "./hall";
import type { Person } from "./person";
import { w } from "./words";

const KEY_MILLIS = 28;

export async function tour(mei: Person, jonas: Person, hall: Hall, show: (what: 0 | 1 | 2) => void, stopped: AbortSignal): Promise<void> {
  const t = w().tour;
  const pause = (millis: number) =>
    new Promise<void>((resolve, reject) => {
      if (stopped.aborted) reject(stopped.reason);
      const timer = setTimeout(resolve, millis);
      stopped.addEventListener("abort", () => (clearTimeout(timer), reject(stopped.reason)), { once: true });
    });
  const write = async (person: Person, text: string) => {
    for (let end = 1; end <= text.length; end += 1) {
      person.type(text.slice(0, end));
      await pause(KEY_MILLIS);
    }
    await pause(300);
    await person.submit();
    await pause(700);
  };
  const last = (person: Person) => person.lines.findLast((line) => line.mine && line.id);
  try {
    for (const one of [mei, jonas]) {
      one.look(true);
      if (one.unplugged) one.plug();
    }
    show(1);
    await write(mei, t.hello);
    show(0);
    await write(jonas, t.reply);
    await pause(900);
    await write(mei, t.slip);
    const slip = last(mei);
    if (slip) {
      mei.edit(slip);
      await pause(700);
      await write(mei, t.slipEdited);
    }
    await write(mei, t.wrong);
    const wrong = last(mei);
    if (wrong) await mei.recall(wrong);
    await pause(900);
    mei.look(false);
    await write(jonas, t.pocket);
    await pause(1_200);
    mei.look(true);
    await pause(500);
    show(1);
    mei.unplug();
    await pause(2_500);
    mei.plug();
    show(2);
    hall.say(t.comment, "low", false);
    hall.flood(250);
    await pause(1_500);
    hall.throttle(true);
    for (let number = 0; number < 8; number += 1) {
      await pause(1_500);
      if (number % 4 === 1) hall.say(w().giftText, "high", true);
    }
    await pause(1_500);
  } finally {
    hall.flood(0);
    hall.throttle(false);
    if (mei.unplugged) mei.plug();
    for (const one of [mei, jonas]) one.look(true);
  }
}
