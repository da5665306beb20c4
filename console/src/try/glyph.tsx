/** Icons of this page alone; like the console's, they say nothing to screen readers. */

const PATHS = {
  edit: "M4 16l.8-3.4L13 4.400l2.600 2.600-8.200 8.200zM11.500 6l2.600 2.600",
  undo: "M7.500 4L4 7.500 7.500 11M4.500 7.500H12a4 4 0 0 1 0 8H8",
  plug: "M7 3v4M13 3v4M5 7h10v2.500a5 5 0 0 1-10 0zM10 14.500V18",
  eye: "M2.500 10S5.200 5 10 5s7.500 5 7.500 5-2.700 5-7.500 5-7.500-5-7.500-5zM10 8a2 2 0 1 1 0 4 2 2 0 0 1 0-4z",
  pocket: "M4 5h12v5a6 6 0 0 1-12 0zM7 9l3 3 3-3",
  at: "M10 7a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM13 7v4a2 2 0 0 0 4 0v-1a7 7 0 1 0-2.800 5.600",
  gift: "M3.500 8h13v3h-13zM4.500 11v5.500h11V11M10 8v8.500M10 8C8 8 6 7.300 6 5.700 6 4.200 8.500 3.400 10 8c1.500-4.600 4-3.800 4-2.300C14 7.300 12 8 10 8z",
  send: "M3 10l14-6-5 13-3-5.500z",
  will: "M5 3.500h8l2 2v11H5zM7.500 8h5M7.500 11h5M7.500 14h3",
  hash: "M8 3.500L6.500 16.500M13.500 3.500L12 16.500M4 7.500h12.500M3.500 12.500H16",
} as const;

export function Glyph({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" width="16" height="16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** One tick: the server has it; two: the other has it; two in colour: the other has read it. */
export function Ticks({ two, read }: { two: boolean; read: boolean }) {
  return (
    <svg class={read ? "ticks read" : "ticks"} viewBox="0 0 22 14" width="18" height="12" aria-hidden="true" focusable="false">
      <path d="M2 7.500l4 4L13 3" />
      {two && <path d="M9 10.500l1.500 1.500L18.500 3" />}
    </svg>
  );
}
