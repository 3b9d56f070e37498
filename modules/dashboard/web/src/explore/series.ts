// Points as the api answers them, put in columns for charts.

export interface HistoryRow {
  endpoint: string;
  counter: string;
  dstype: string;
  step: number;
  Values: { timestamp: number; value: number | null }[] | null;
}

export interface Series {
  endpoint: string;
  counter: string;
  type: string;
  step: number;
  /** Unix seconds, rising. */
  t: number[];
  /** As long as t; null where nothing came. */
  v: (number | null)[];
}

/** What a series is known by. No name has a line feed in it. */
export const seriesKey = (endpoint: string, counter: string): string => endpoint + "\n" + counter;

/** Columns of an answer. */
export function columns(row: HistoryRow): Series {
  const values = row.Values ?? [];
  const t = new Array<number>(values.length);
  const v = new Array<number | null>(values.length);
  values.forEach((p, i) => {
    t[i] = p.timestamp;
    v[i] = p.value;
  });
  return { endpoint: row.endpoint, counter: row.counter, type: row.dstype, step: row.step, t, v };
}

/** old with the points of tail in place of its own from tail's first on, and without those before from. */
export function extend(old: Series, tail: Series, from: number): Series {
  const first = tail.t[0] ?? Infinity;
  const start = lowerBound(old.t, from);
  const end = lowerBound(old.t, first);
  return {
    ...tail,
    t: old.t.slice(start, Math.max(start, end)).concat(tail.t),
    v: old.v.slice(start, Math.max(start, end)).concat(tail.v),
  };
}

/** The index of the first element that is not below x. */
export function lowerBound(a: readonly number[], x: number): number {
  let lo = 0;
  let hi = a.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if ((a[mid] as number) < x) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** Times and, for each series, values: undefined where a series has no step, null where it has a gap. */
export type Table = [number[], ...(number | null | undefined)[][]];

/**
 * One column of times for series of different steps. A series of a minute beside one
 * of ten seconds has nothing between its points, which is no gap.
 */
export function align(all: readonly Series[]): Table {
  const first = all[0];
  if (!first) return [[]];
  const same = all.every((s) => s.t.length === first.t.length && s.t.every((ts, i) => ts === first.t[i]));
  if (same) return [first.t, ...all.map((s) => s.v)];
  const times = [...new Set(all.flatMap((s) => s.t))].sort((a, b) => a - b);
  const at = new Map(times.map((ts, i) => [ts, i]));
  return [
    times,
    ...all.map((s) => {
      const col = new Array<number | null | undefined>(times.length).fill(undefined);
      s.t.forEach((ts, i) => {
        col[at.get(ts) as number] = s.v[i] ?? null;
      });
      return col;
    }),
  ];
}

export interface Stats {
  now: number | null;
  min: number | null;
  max: number | null;
  avg: number | null;
  /** Time of the newest point, 0 without any. */
  last: number;
}

/** The figures of a legend row. now is the newest value there is. */
export function stats(s: Series): Stats {
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  let n = 0;
  let now: number | null = null;
  let last = 0;
  for (let i = 0; i < s.v.length; i++) {
    const v = s.v[i];
    if (v === null || v === undefined) continue;
    if (v < min) min = v;
    if (v > max) max = v;
    sum += v;
    n++;
    now = v;
    last = s.t[i] as number;
  }
  return n === 0 ? { now: null, min: null, max: null, avg: null, last: 0 } : { now, min, max, avg: sum / n, last };
}
