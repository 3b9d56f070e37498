// Which series share a chart, and what charts and lines are called.
import type { By } from "./view";

export interface Line {
  endpoint: string;
  counter: string;
  /** What tells it from the other lines of its chart. */
  label: string;
  /** Its place in the palette: the same host has the same colour in every chart. */
  color: number;
}

export interface Group {
  key: string;
  /** The metric, or the host. */
  title: string;
  /** Its tags. */
  detail: string;
  lines: Line[];
}

/** A counter in its two parts: cpu.idle and host=a,core=1. */
export function splitCounter(counter: string): { metric: string; tags: string } {
  const slash = counter.indexOf("/");
  return slash < 0 ? { metric: counter, tags: "" } : { metric: counter.slice(0, slash), tags: counter.slice(slash + 1) };
}

/** The charts of a choice, in its order. */
export function group(endpoints: readonly string[], counters: readonly string[], by: By): Group[] {
  if (endpoints.length === 0 || counters.length === 0) return [];
  switch (by) {
    case "counter":
      return counters.map((counter) => {
        const { metric, tags } = splitCounter(counter);
        return { key: "c:" + counter, title: metric, detail: tags, lines: endpoints.map((endpoint, i) => ({ endpoint, counter, label: endpoint, color: i })) };
      });
    case "host":
      return endpoints.map((endpoint) => ({
        key: "h:" + endpoint, title: endpoint, detail: "", lines: counters.map((counter, i) => ({ endpoint, counter, label: counter, color: i })),
      }));
    case "all": {
      const lines: Line[] = [];
      for (const endpoint of endpoints) for (const counter of counters) lines.push({ endpoint, counter, label: endpoint + " " + counter, color: lines.length });
      if (endpoints.length === 1) for (const l of lines) l.label = l.counter;
      else if (counters.length === 1) for (const l of lines) l.label = l.endpoint;
      return [{ key: "a", title: allTitle(endpoints, counters), detail: "", lines }];
    }
  }
}

function allTitle(endpoints: readonly string[], counters: readonly string[]): string {
  if (counters.length === 1) return counters[0] as string;
  if (endpoints.length === 1) return endpoints[0] as string;
  return `${endpoints.length} × ${counters.length}`;
}

/** A chart with more lines than this can not be read by anybody. */
export const maxSeries = 500;
/** Points a page may hold: some 20 MB of JSON. */
export const maxPoints = 500_000;

export interface Cut {
  endpoints: readonly string[];
  counters: readonly string[];
  /** How many of all series are left; equal when nothing is cut. */
  shown: number;
  all: number;
}

/** As much of a choice as one page may ask for. step is how far points lie apart. */
export function cut(endpoints: readonly string[], counters: readonly string[], seconds: number, step: number): Cut {
  const all = endpoints.length * counters.length;
  const most = Math.max(1, Math.min(maxSeries, Math.floor(maxPoints / Math.max(1, seconds / Math.max(1, step)))));
  if (all <= most) return { endpoints, counters, shown: all, all };
  // Every host of few counters says more than every counter of few hosts.
  const c = counters.slice(0, Math.max(1, Math.min(counters.length, Math.floor(most / Math.min(endpoints.length, most)))));
  const e = endpoints.slice(0, Math.max(1, Math.floor(most / c.length)));
  return { endpoints: e, counters: c, shown: e.length * c.length, all };
}
