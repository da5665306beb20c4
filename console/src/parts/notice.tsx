/** One line at the bottom that says what was just done; a new one takes the old one's place. */

import { useEffect, useState } from "preact/hooks";

const SHOWN_MS = 4_000;

let show: (text: string) => void = () => {};

export function notice(text: string): void {
  show(text);
}

export function Notices() {
  const [text, setText] = useState("");
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    show = (next) => {
      clearTimeout(timer);
      setText(next);
      timer = setTimeout(() => setText(""), SHOWN_MS);
    };
    return () => {
      clearTimeout(timer);
      show = () => {};
    };
  }, []);
  // Always there, as screen readers tell of changes inside it.
  return (
    <div class="notices" role="status">
      {text && <p dir="auto">{text}</p>}
    </div>
  );
}
