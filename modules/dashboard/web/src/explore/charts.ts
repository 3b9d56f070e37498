// The points of the charts in view. One request brings them all; what is on screen
// stays until its successor is there, and a request that is overtaken is given up.
import { computed, effect, signal, untracked } from "@preact/signals";
import { call, isAbort } from "../api";
import { serverNow } from "../clock";
import { cut, group, type Group } from "./group";
import { steps } from "./lists";
import { columns, extend, seriesKey, stats, type HistoryRow, type Series, type Stats } from "./series";
import { view } from "./state";
import { ranges, type CF } from "./view";

/** Seconds between two refreshes while the range ends now. */
export const livePace = 2;
/** A tail is asked for at most so long after everything was, in seconds: points that came late are seen then. */
const tailFor = 300;

export interface Shown {
  from: number;
  to: number;
  cf: CF;
  data: ReadonlyMap<string, Series>;
  /** Graph nodes that did not answer. */
  missing: string[];
}

export interface CardState {
  busy: boolean;
  error: unknown;
}

/** What charts draw; null before the first answer. */
export const shown = signal<Shown | null>(null);
/** A request for all charts is under way. */
export const busy = signal(false);
/** Why the last request for all charts failed. */
export const failed = signal<unknown>(null);
/** Charts that are refreshed alone, by key. */
export const alone = signal<ReadonlyMap<string, CardState>>(new Map());

/** As much of the choice as is drawn. */
export const inView = computed(() => {
  const v = view.value;
  const seconds = v.from !== null && v.to !== null ? v.to - v.from : ranges[v.range];
  const step = Math.min(...v.counters.map((c) => steps.get(c) ?? 60), 3600);
  return cut(v.endpoints, v.counters, seconds, step);
});

export const groups = computed<Group[]>(() => group(inView.value.endpoints, inView.value.counters, view.value.by));

/** Figures of each series that is shown, worked out once for each answer. */
export const figures = computed<ReadonlyMap<string, Stats>>(() => {
  const m = new Map<string, Stats>();
  for (const [key, s] of shown.value?.data ?? []) m.set(key, stats(s));
  return m;
});

/** Time of the newest point on screen, 0 without any. */
export const newest = computed(() => {
  let last = 0;
  for (const s of figures.value.values()) last = Math.max(last, s.last);
  return last;
});

// What is asked for, without by, which only arranges it.
const request = computed(() => {
  const v = view.value;
  return JSON.stringify([inView.value.endpoints, inView.value.counters, v.cf, v.range, v.from, v.to]);
});

export const endsNow = computed(() => view.value.from === null);

function span(): { from: number; to: number } {
  const v = view.peek();
  if (v.from !== null && v.to !== null) return { from: v.from, to: v.to };
  const to = Math.floor(serverNow());
  return { from: to - ranges[v.range], to };
}

let loading: AbortController | null = null;
let loaded = ""; // the request that shown answers
let loadedAt = 0;

async function fetchSeries(endpoints: readonly string[], counters: readonly string[], cf: CF, from: number, to: number, signal: AbortSignal) {
  const a = await call<HistoryRow[]>("/graph/history", {
    method: "POST", signal,
    body: { hostnames: endpoints, counters, consol_fun: cf, start_time: from, end_time: to },
  });
  return { rows: a.data.map(columns), missing: a.missing };
}

/** Asks for every chart in view, whole. */
export async function refresh(): Promise<void> {
  loading?.abort();
  const mine = (loading = new AbortController());
  const what = request.peek();
  const { endpoints, counters, shown: n } = inView.peek();
  if (n === 0) {
    shown.value = null;
    busy.value = false;
    failed.value = null;
    loaded = "";
    return;
  }
  const { from, to } = span();
  const cf = view.peek().cf;
  busy.value = true;
  try {
    const { rows, missing } = await fetchSeries(endpoints, counters, cf, from, to, mine.signal);
    shown.value = { from, to, cf, missing, data: new Map(rows.map((s) => [seriesKey(s.endpoint, s.counter), s])) };
    loaded = what;
    loadedAt = serverNow();
    failed.value = null;
    alone.value = new Map();
  } catch (err) {
    if (isAbort(err)) return;
    failed.value = err;
  } finally {
    if (loading === mine) busy.value = false;
  }
}

/** Asks for what has come since the last answer. */
async function tail(): Promise<void> {
  const old = shown.peek();
  if (!old || loaded !== request.peek() || serverNow() - loadedAt > tailFor || failed.peek() !== null) return refresh();
  if (busy.peek()) return;
  const mine = (loading = new AbortController());
  const { endpoints, counters } = inView.peek();
  const { from, to } = span();
  const step = Math.max(10, ...[...old.data.values()].map((s) => s.step));
  busy.value = true;
  try {
    const { rows, missing } = await fetchSeries(endpoints, counters, old.cf, Math.max(from, old.to - 5 * step), to, mine.signal);
    const data = new Map(old.data);
    for (const s of rows) {
      const key = seriesKey(s.endpoint, s.counter);
      const before = data.get(key);
      data.set(key, before && before.step === s.step && before.type === s.type ? extend(before, s, from) : s);
    }
    shown.value = { from, to, cf: old.cf, missing, data };
  } catch (err) {
    if (isAbort(err)) return;
    failed.value = err;
  } finally {
    if (loading === mine) busy.value = false;
  }
}

function setAlone(key: string, state: CardState | null): void {
  const m = new Map(alone.peek());
  if (state) m.set(key, state);
  else m.delete(key);
  alone.value = m;
}

/** Asks for one chart alone, for the range that is on screen. */
export async function refreshOne(g: Group): Promise<void> {
  const at = shown.peek();
  if (!at) return refresh();
  const until = endsNow.peek() ? Math.floor(serverNow()) : at.to;
  setAlone(g.key, { busy: true, error: null });
  try {
    const uniq = (f: "endpoint" | "counter") => [...new Set(g.lines.map((l) => l[f]))];
    const { rows } = await fetchSeries(uniq("endpoint"), uniq("counter"), at.cf, at.from, until, new AbortController().signal);
    const cur = shown.peek();
    if (cur && cur.cf === at.cf && cur.from <= at.to) {
      const data = new Map(cur.data);
      for (const s of rows) data.set(seriesKey(s.endpoint, s.counter), s);
      shown.value = { ...cur, data };
    }
    setAlone(g.key, null);
  } catch (err) {
    setAlone(g.key, { busy: false, error: err });
  }
}

/** Keeps the charts in step with the view and the clock until the returned function is called. */
export function followCharts(): () => void {
  const stop = effect(() => {
    void request.value;
    untracked(() => void refresh());
  });
  const beat = () => {
    // An answer that is slower than the pace is waited for.
    if (document.hidden || busy.peek() || !view.peek().live || !endsNow.peek() || inView.peek().shown === 0) return;
    void tail();
  };
  const timer = setInterval(beat, livePace * 1000);
  const seen = () => {
    if (!document.hidden && shown.peek() && serverNow() - (shown.peek() as Shown).to > livePace) beat();
  };
  document.addEventListener("visibilitychange", seen);
  return () => {
    stop();
    clearInterval(timer);
    document.removeEventListener("visibilitychange", seen);
    loading?.abort();
  };
}
