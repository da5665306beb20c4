/** Icons, drawn on 20 by 20 with the text's own colour. They say nothing to screen readers: what they mean stands beside. */

const PATHS = {
  live: "M2.5 10.5h3l2.2-6 4.2 11 2.4-5h3.2",
  conversations:
    "M3 5.5A1.5 1.5 0 0 1 4.5 4h11A1.5 1.5 0 0 1 17 5.5v7a1.5 1.5 0 0 1-1.5 1.5H9l-3.5 3v-3h-1A1.5 1.5 0 0 1 3 12.5zM6.5 7.7h7M6.5 10.4h4.5",
  story:
    "M5 3v14M5 5.5h.01M5 10h.01M5 14.5h.01M8.5 5.5H16M8.5 10H14M8.5 14.5H16M6.6 5.5a1.6 1.6 0 1 1-3.2 0 1.6 1.6 0 0 1 3.2 0zM6.6 14.5a1.6 1.6 0 1 1-3.2 0 1.6 1.6 0 0 1 3.2 0z",
  settings: "M3 6h6M13 6h4M3 14h3M10 14h7M11 4.2v3.6M8 12.2v3.6",
  applications: "M3.5 3.5h5v5h-5zM11.5 3.5h5v5h-5zM3.5 11.5h5v5h-5zM11.5 11.5h5v5h-5z",
  audit: "M5.5 3h6L15 6.5V17H5.5zM11 3v4h4M8 10.5h4.5M8 13.5h4.5",
  try: "M4 4.5h8v6H7l-3 2.5zM14 8.5h2.5v6.5l-2.5-2h-5V12",
  menu: "M3 5.5h14M3 10h14M3 14.5h14",
  close: "M5 5l10 10M15 5L5 15",
  sun: "M10 6.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7zM10 2v1.6M10 16.4V18M2 10h1.6M16.4 10H18M4.3 4.3l1.2 1.2M14.5 14.5l1.2 1.2M4.3 15.7l1.2-1.2M14.5 5.5l1.2-1.2",
  moon: "M16 11.5A6.5 6.5 0 0 1 8.5 4a6.5 6.5 0 1 0 7.5 7.5z",
  search: "M9 3.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM13 13l4 4",
  refresh: "M16 10a6 6 0 1 1-1.8-4.3M16.2 3v3.2H13",
  copy: "M7 7h9v9H7zM4 13V4h9",
  check: "M4 10.5l4 4 8-9",
  back: "M12 4l-6 6 6 6",
  next: "M8 4l6 6-6 6",
  out: "M11.5 4H4.5v12h7M9 10h8M14 7l3 3-3 3",
  key: "M12.5 3.5a4 4 0 1 1-2.7 7L4 16.2V17h3v-2h2v-2l1.5-1.4M13.2 6.8h.01",
  alert: "M10 3l7.5 13h-15zM10 8v4M10 14h.01",
  pin: "M10 11.5V17M6.5 3.5h7M7.5 3.5V8L5 11.5h10L12.5 8V3.5",
  play: "M6 4l10 6-10 6z",
  upload: "M10 13V4M6.5 7.5L10 4l3.5 3.5M4 13v3h12v-3",
  plus: "M10 4v12M4 10h12",
  user: "M10 3.5a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM4 16.5c.5-3 3-4.5 6-4.5s5.5 1.5 6 4.5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" width="18" height="18" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" />
      <path d="M8 11.5h11a4.5 4.5 0 0 1 0 9h-4l-4.5 3.8v-3.8" />
      <path d="M22.5 8.2l2.2-1.7M25 12h2.5" />
    </svg>
  );
}
