// A view of Explore and the URL that holds it.
import { formatThreshold, parseThreshold, type Threshold } from "./threshold";

export const ranges = { "15m": 900, "1h": 3600, "6h": 6 * 3600, "1d": 86400, "3d": 3 * 86400 } as const;
export type Range = keyof typeof ranges;
export type By = "host" | "counter" | "all";
export type CF = "AVERAGE" | "MAX" | "MIN";
/** Which of the three a phone shows. */
export type Pane = "endpoints" | "counters" | "charts";

export interface View {
  /** The search for endpoints, as typed. */
  q: string;
  /** The filter of counters, as typed. */
  m: string;
  endpoints: string[];
  counters: string[];
  /** The range that ends now, when from and to are not given. */
  range: Range;
  /** A fixed range, in Unix seconds; both or neither. */
  from: number | null;
  to: number | null;
  by: By;
  cf: CF;
  /** Refresh by itself while the range ends now. */
  live: boolean;
  /** The key of the chart that has the whole pane, or "". */
  big: string;
  pane: Pane | "";
  /** Lines that say where rules begin to hold. */
  thresholds: Threshold[];
}

export const defaults: View = {
  q: "", m: "", endpoints: [], counters: [], range: "1h", from: null, to: null, by: "counter", cf: "AVERAGE", live: true, big: "", pane: "", thresholds: [],
};

/** As many of each are taken from a URL. */
export const maxChosen = 500;

const oneOf = <T extends string>(all: readonly T[], v: string | null, def: T): T => (all.includes(v as T) ? (v as T) : def);

/** Reads a view from the query of a URL. What makes no sense is as if it were not there. */
export function parseView(search: string): View {
  const p = new URLSearchParams(search);
  const names = (key: string) => [...new Set(p.getAll(key).filter((s) => s !== ""))].slice(0, maxChosen);
  const time = (key: string) => {
    const n = Number(p.get(key) ?? "");
    return Number.isInteger(n) && n > 0 && n < 2 ** 33 ? n : null;
  };
  let from = time("from");
  let to = time("to");
  if (from === null || to === null || from >= to) from = to = null;
  return {
    q: p.get("q") ?? "",
    m: p.get("m") ?? "",
    endpoints: names("e"),
    counters: names("c"),
    range: oneOf(Object.keys(ranges) as Range[], p.get("r"), defaults.range),
    from,
    to,
    by: oneOf<By>(["host", "counter", "all"], p.get("by"), defaults.by),
    cf: oneOf<CF>(["AVERAGE", "MAX", "MIN"], p.get("cf"), defaults.cf),
    live: p.get("live") !== "0",
    big: p.get("big") ?? "",
    pane: oneOf<Pane | "">(["endpoints", "counters", "charts"], p.get("pane"), ""),
    thresholds: names("t").slice(0, 20).flatMap((text) => parseThreshold(text) ?? []),
  };
}

// Counters are full of / = , which a query may hold as they are.
export const encode = (s: string) => encodeURIComponent(s).replace(/%(2F|3D|2C|3A|40)/gi, (x) => decodeURIComponent(x)).replace(/%20/g, "+");

/** The query of a URL that holds v, "" for the default view. */
export function formatView(v: View): string {
  const parts: string[] = [];
  const add = (key: string, value: string, def = "") => {
    if (value !== def) parts.push(key + "=" + encode(value));
  };
  add("q", v.q);
  for (const e of v.endpoints) add("e", e);
  add("m", v.m);
  for (const c of v.counters) add("c", c);
  add("r", v.range, defaults.range);
  if (v.from !== null && v.to !== null) {
    add("from", String(v.from));
    add("to", String(v.to));
  }
  add("by", v.by, defaults.by);
  add("cf", v.cf, defaults.cf);
  add("live", v.live ? "1" : "0", "1");
  add("big", v.big);
  add("pane", v.pane);
  for (const t of v.thresholds) add("t", formatThreshold(t));
  return parts.length === 0 ? "" : "?" + parts.join("&");
}

/** The pane that a phone shows: the one asked for, else the step that comes next. */
export function paneOf(v: View): Pane {
  if (v.pane) return v.pane;
  if (v.endpoints.length === 0) return "endpoints";
  return v.counters.length === 0 ? "counters" : "charts";
}
