// A chart on a canvas: uPlot, made once for a set of lines and fed from then on.
import uPlot from "uplot";
import { timeLabels, timeSteps, valueSteps, yRange } from "./axis";
import type { Table } from "./series";
import { ticks, type Unit } from "./units";

export interface PlotLine {
  color: number;
  /** Lines of one unit share a scale; those of two have an axis each side. */
  unit: Unit;
}

/** A dashed line across the chart. */
export interface PlotMark {
  value: number;
  label: string;
  /** Of the lines that it is about. */
  unit: Unit;
}

/** A stretch of time that is marked in the colour of a line: a bar at the top, one below the other for each line. */
export interface PlotSpan {
  line: number;
  from: number;
  to: number;
}

export interface Hooks {
  /** The crosshair is on the point at index of the table; null when it has left. */
  onCursor(index: number | null): void;
  /** Somebody has drawn a range, in Unix seconds. */
  onZoom(from: number, to: number): void;
}

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const palette = 10;

/** The colour of a line, from the theme of the moment. */
export const colorName = (n: number): string => `--line-${(n % palette) + 1}`;
/** The eleventh line and those after it are dashed, so that colours may return. */
export const dashOf = (n: number): number[] => (n < palette ? [] : n < 2 * palette ? [6, 3] : [2, 3]);

export class Plot {
  private u: uPlot;
  private window: [number, number] = [0, 1];
  private palette = new Map<string, string>();
  private marks: readonly PlotMark[] = [];
  private spans: readonly PlotSpan[] = [];

  constructor(host: HTMLElement, lines: readonly PlotLine[], width: number, height: number, hooks: Hooks) {
    const color = (name: string) => () => this.color(name);
    const font = "11px " + css("--font");
    const units = [...new Set(lines.map((l) => l.unit))];
    const scale = (unit: Unit) => "y" + units.indexOf(unit);
    this.u = new uPlot(
      {
        width, height, pxAlign: 1, padding: [8, units.length > 1 ? 0 : 16, 0, 0],
        legend: { show: false },
        cursor: {
          sync: { key: "falcon", scales: ["x", null], setSeries: false },
          y: false,
          drag: { x: true, y: false, setScale: false, dist: 6 },
          points: { size: 6 },
        },
        scales: {
          x: { time: true, range: () => this.window },
          ...Object.fromEntries(
            units.map((unit): [string, uPlot.Scale] => [scale(unit), { range: (_u, min, max) => this.range(min, max, unit) }]),
          ),
        },
        axes: [
          {
            stroke: color("--axis"), font, space: 60, size: 24, gap: 4, incrs: timeSteps,
            grid: { show: false }, ticks: { stroke: color("--grid"), size: 4, width: 1 },
            values: (_u, at, _i, _s, step) => timeLabels(at, step),
          },
          // A third unit has a scale of its own too, but no room for an axis.
          ...units.slice(0, 2).map((unit, i): uPlot.Axis => ({
            scale: scale(unit), side: i === 0 ? 3 : 1, stroke: color("--axis"), font, space: 28, gap: 6, incrs: valueSteps(unit),
            grid: { show: i === 0, stroke: color("--grid"), width: 1 }, ticks: { show: false },
            values: (_u, at) => ticks(at, unit),
            size: (_u, values) => Math.max(36, ...(values ?? []).map((s) => s.length * 6.2 + 10)),
          })),
        ],
        series: [
          {},
          ...lines.map((l) => ({
            scale: scale(l.unit), stroke: color(colorName(l.color)), width: 1.5, dash: dashOf(l.color), spanGaps: false,
            // A lone point between two gaps is a dot; without it nothing would be seen.
            points: { show: (u: uPlot, i: number) => lonely(u.data[i] as (number | null | undefined)[]), size: 4, filter: (u: uPlot, i: number) => alonePoints(u.data[i] as (number | null | undefined)[]) },
          })),
        ],
        hooks: {
          draw: [(u) => this.marks.forEach((m) => this.drawMark(u, m, scale(m.unit))), (u) => this.spans.forEach((s) => this.drawSpan(u, s, lines[s.line]?.color ?? 0))],
          setCursor: [(u) => hooks.onCursor(u.cursor.left === undefined || u.cursor.left < 0 ? null : (u.cursor.idx ?? null))],
          setSelect: [
            (u) => {
              if (u.select.width < 6) return;
              const from = Math.floor(u.posToVal(u.select.left, "x"));
              const to = Math.ceil(u.posToVal(u.select.left + u.select.width, "x"));
              u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              if (to - from >= 30) hooks.onZoom(from, to);
            },
          ],
        },
      },
      [[], ...lines.map(() => [])] as uPlot.AlignedData,
      host,
    );
  }

  private color(name: string): string {
    let c = this.palette.get(name);
    if (c === undefined) {
      c = css(name);
      this.palette.set(name, c);
    }
    return c;
  }

  /** A mark is in sight even where no value comes near it. */
  private range(min: number | null, max: number | null, unit: Unit): [number, number] {
    const own = this.marks.filter((m) => m.unit === unit).map((m) => m.value);
    return yRange(Math.min(min ?? Infinity, ...own), Math.max(max ?? -Infinity, ...own), unit);
  }

  private drawMark(u: uPlot, m: PlotMark, scale: string): void {
    const { ctx, bbox } = u;
    const y = Math.round(u.valToPos(m.value, scale, true)) + 0.5;
    if (!(y >= bbox.top && y <= bbox.top + bbox.height)) return;
    const px = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = this.color("--threshold");
    ctx.lineWidth = px;
    ctx.setLineDash([5 * px, 4 * px]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.font = `${11 * px}px ${css("--font")}`;
    ctx.textAlign = "right";
    // Above the line, unless the chart ends there.
    const above = y - bbox.top > 16 * px;
    ctx.textBaseline = above ? "bottom" : "top";
    ctx.fillText(m.label, bbox.left + bbox.width, y + (above ? -3 : 3) * px);
    ctx.restore();
  }

  private drawSpan(u: uPlot, s: PlotSpan, color: number): void {
    const { ctx, bbox } = u;
    const px = devicePixelRatio;
    const left = Math.max(bbox.left, u.valToPos(s.from, "x", true));
    // One that is over at once is seen, too.
    const right = Math.min(bbox.left + bbox.width, Math.max(u.valToPos(s.to, "x", true), left + 3 * px));
    const top = bbox.top + s.line * 5 * px;
    if (right <= left) return;
    ctx.save();
    ctx.fillStyle = this.color(colorName(color));
    ctx.fillRect(left, top, right - left, 4 * px);
    ctx.globalAlpha = 0.09;
    ctx.fillRect(left, top, right - left, bbox.top + bbox.height - top);
    ctx.restore();
  }

  /** Draws table from one time to another, with marks across it and spans above it. */
  draw(table: Table, from: number, to: number, marks: readonly PlotMark[] = [], spans: readonly PlotSpan[] = []): void {
    this.window = [from, to];
    this.marks = marks;
    this.spans = spans;
    this.u.setData(table as uPlot.AlignedData);
  }

  /** Shows the lines that visible says. */
  show(visible: readonly boolean[]): void {
    this.u.batch(() => {
      visible.forEach((show, i) => {
        if (this.u.series[i + 1]?.show !== show) this.u.setSeries(i + 1, { show });
      });
    });
  }

  resize(width: number, height: number): void {
    if (width !== this.u.width || height !== this.u.height) this.u.setSize({ width, height });
  }

  /** Takes the colours of the theme again. */
  recolor(): void {
    this.palette.clear();
    this.u.redraw(false, true);
  }

  destroy(): void {
    this.u.destroy();
  }
}

type Column = (number | null | undefined)[];

function alonePoints(col: Column): number[] {
  const out: number[] = [];
  let before: number | null = null; // the last step that was no hole
  let candidate = -1;
  for (let i = 0; i < col.length; i++) {
    const v = col[i];
    if (v === undefined) continue;
    if (v === null) {
      if (candidate >= 0) out.push(candidate);
      candidate = -1;
    } else {
      candidate = before === null ? i : -1;
    }
    before = v;
  }
  if (candidate >= 0) out.push(candidate);
  return out;
}

const lonely = (col: Column): boolean => alonePoints(col).length > 0;
