/** A graph over time on a canvas. What it shows now stands beside its name, so that nobody needs to see the lines. */

import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { compact } from "../format";
import { t } from "../i18n";
import { useTheme } from "../theme";

export interface Line {
  name: string;
  /** A custom property's name. */
  colour: string;
  values: readonly (number | null)[];
}

const HEIGHT = 168;
const LEAST_SECONDS = 60;
/** Pixels that a time's label takes on either side, less what is beside the plot. */
const LABEL_HALF = 20;

export function Graph({
  title,
  times,
  lines,
  seconds,
  format,
  least = 1,
}: {
  title: string;
  /** Seconds since the epoch. */
  times: readonly number[];
  lines: Line[];
  /** How much of it is shown. */
  seconds: number;
  format: (value: number | null) => string;
  /** The scale reaches at least so far, or idle noise would look like mountains. */
  least?: number;
}) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const theme = useTheme();
  const [pointed, setPointed] = useState<number | null>(null);
  const id = useId();
  const shape = lines.map((line) => `${line.name} ${line.colour}`).join(",");
  const last = times.length - 1;

  useLayoutEffect(() => {
    const element = place.current!;
    const styles = getComputedStyle(document.documentElement);
    const colour = (name: string) => styles.getPropertyValue(name).trim();
    const font = `11px ${styles.getPropertyValue("--font").trim()}`;
    const axis: uPlot.Axis = {
      stroke: colour("--faint"),
      font,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    const made = new uPlot(
      {
        width: element.clientWidth || 300,
        height: HEIGHT,
        padding: [10, 8, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false, setScale: false }, sync: { key: "live" } },
        select: { show: false, left: 0, top: 0, width: 0, height: 0 },
        scales: { x: { time: true }, y: { range: (_, _least, most) => [0, Math.max(least, (most ?? 0) * 1.15)] } },
        axes: [
          {
            ...axis,
            size: 24,
            gap: 4,
            space: 72,
            // A label that would be cut off at the edge is left out.
            values: (self, splits) =>
              splits.map((at) =>
                self.valToPos(at, "x") > self.over.clientWidth - LABEL_HALF
                  ? ""
                  : new Date(at * 1_000).toTimeString().slice(0, 8),
              ),
          },
          { ...axis, size: 42, gap: 6, space: 34, values: (_, splits) => splits.map((value) => compact(value)) },
        ],
        series: [
          {},
          ...lines.map((line, index) => ({
            label: line.name,
            stroke: colour(line.colour),
            fill: index === 0 && lines.length < 3 ? `${colour(line.colour)}1f` : undefined,
            width: 1.75,
            points: { show: false },
            spanGaps: false,
          })),
        ] as uPlot.Series[],
        hooks: { setCursor: [(self) => setPointed(self.cursor.idx ?? null)] },
      },
      [[], ...lines.map(() => [])],
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => {
      if (element.clientWidth) made.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
    // Colours are read once, so another theme makes another plot; so do other lines.
  }, [theme, shape, least]);

  useEffect(() => {
    const made = plot.current;
    if (!made) return;
    made.setData([times as number[], ...lines.map((line) => line.values as (number | null)[])], false);
    const end = times[last] ?? Date.now() / 1_000;
    // While there is little to show, it fills the graph rather than its last corner.
    const begun = times.find((at) => at >= end - seconds) ?? end;
    made.setScale("x", { min: Math.min(end - Math.min(seconds, LEAST_SECONDS), begun), max: end });
  });

  const shown = pointed !== null && pointed <= last ? pointed : last;
  const says = lines.map((line) => ({ ...line, value: format(line.values[shown] ?? null) }));
  return (
    <figure class="graph" aria-labelledby={id}>
      <figcaption>
        <span id={id} class="graph-title">
          {title}
        </span>
        <span class="legend">
          {says.map((line) => (
            <span key={line.name}>
              <i class={`swatch ${line.colour.slice(2)}`} />
              {line.name} <b>{line.value}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div
        class="plot"
        ref={place}
        role="img"
        aria-label={t.live.graphNow(says.map((line) => `${line.name} ${line.value}`).join(", "))}
      />
    </figure>
  );
}
