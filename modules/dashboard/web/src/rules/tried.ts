// What a rule would have told, as the api answers it, and what of it is drawn.
import type { Series } from "../explore/series";
import type { Threshold } from "../explore/threshold";
import type { Key } from "../i18n";

export interface TriedEvent {
  endpoint: string;
  counter: string;
  /** Unix seconds. */
  time: number;
  value: number;
  status: "PROBLEM" | "OK";
  step: number;
}

export interface TriedSeries {
  endpoint: string;
  counter: string;
  type: string;
  step: number;
  fired: number;
  firing: boolean;
  /** Times and values, of a counter its rates; null is a gap. */
  points: [number, number | null][];
}

export interface Tried {
  start: number;
  end: number;
  hosts: number;
  matches: number;
  more: boolean;
  looked_at: number;
  points: number;
  fired: number;
  told: number;
  recovered: number;
  fired_hosts: number;
  firing: number;
  events: TriedEvent[];
  series: TriedSeries[];
  notes: { code: string; n: number; text: string }[];
}

export const ranges = ["1h", "6h", "1d", "3d", "7d"] as const;
export type Range = (typeof ranges)[number];

/** The seconds of a range. */
export const secondsOf = (r: Range): number => Number.parseInt(r) * (r.endsWith("h") ? 3600 : 86400);

/** Columns for a chart. */
export const seriesOf = (s: TriedSeries): Series => ({
  endpoint: s.endpoint, counter: s.counter, type: s.type, step: s.step, t: s.points.map((p) => p[0]), v: s.points.map((p) => p[1]),
});

/** A stretch in which a problem is open, on the line with that number. */
export interface Open {
  line: number;
  from: number;
  to: number;
}

/** When each of the series drawn would have been a problem; one that is not over goes on to the end. */
export function openSpans(tried: Tried): Open[] {
  const out: Open[] = [];
  tried.series.forEach((s, line) => {
    let from = 0;
    for (const e of tried.events) {
      if (e.endpoint !== s.endpoint || e.counter !== s.counter) continue;
      if (e.status === "PROBLEM") from ||= e.time;
      else if (from) {
        out.push({ line, from, to: e.time });
        from = 0;
      }
    }
    if (from) out.push({ line, from, to: tried.end });
  });
  return out;
}

/** The threshold of a rule, where it compares the values that are drawn. */
export function thresholdOf(func: string, op: string, right: string): Threshold | null {
  const value = Number(right);
  return /^(all|max|min|avg|lookup)\(/.test(func) && right !== "" && Number.isFinite(value) ? { counter: "", op, value } : null;
}

/** Notes that there are words for in both languages; of others the api's are shown. */
export const noteKeys: Readonly<Record<string, Key>> = {
  no_hosts: "try.note.no_hosts", no_series: "try.note.no_series", series_left_out: "try.note.left_out", silent: "try.note.silent", away: "try.note.away",
  consolidated: "try.note.consolidated", short: "try.note.short", events_left_out: "try.note.events", more: "try.note.more", hosts: "try.note.hosts", hours: "try.note.hours",
};
