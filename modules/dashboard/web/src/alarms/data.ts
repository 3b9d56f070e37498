// Cases, their events and notices, as the api answers them, and what the page makes of them.
import { splitCounter } from "../explore/group";
import { formatView, defaults } from "../explore/view";
import { parseCondition, type Threshold } from "../explore/threshold";
import { matcher, when } from "../text";

export interface Case {
  id: string;
  endpoint: string;
  /** The counter. */
  metric: string;
  func: string | null;
  cond: string;
  note: string | null;
  /** At most so many times people are told. */
  step: number | null;
  current_step: number | null;
  priority: number;
  status: string;
  /** When the incident began. */
  timestamp: string | number;
  update_at: string | number | null;
  closed_at?: string | number | null;
  tpl_creator?: string | null;
  expression_id: number | null;
  strategy_id: number | null;
  template_id: number | null;
  process_status?: string | null;
}

export interface CaseEvent {
  id: number;
  step: number | null;
  cond: string;
  /** 0 PROBLEM, 1 OK. */
  status: number;
  timestamp: string | number | null;
}

export interface Notice {
  id: number;
  event_ts: number;
  send_ts: number;
  status: string;
  step: number;
  action_id: number;
  receiver: string;
  channel: string;
  result: string;
  attempts: number;
  answer: string;
}

export interface Note {
  note: string;
  status: string;
  timestamp: string | number | null;
  user: string;
}

/** What a person can say of a case; all but a comment become its state. */
export const noteStates = ["comment", "in progress", "unresolved", "resolved", "ignored"] as const;

export type Sort = "priority" | "age" | "endpoint";

export interface CaseFilter {
  q: string;
  endpoint: string;
  priority: string;
  sort: Sort;
}

/** The rows that f asks for, in its order. */
export function chosen(cases: readonly Case[], f: CaseFilter): Case[] {
  const text = matcher(f.q);
  const host = matcher(f.endpoint);
  const rows = cases.filter(
    (c) => (f.priority === "" || c.priority === Number(f.priority)) && host([c.endpoint]) && text([c.endpoint, c.metric, c.func, c.cond, c.note, c.id]),
  );
  const newest = (a: Case, b: Case) => when(b.timestamp) - when(a.timestamp) || (a.id < b.id ? -1 : 1);
  const byName = (a: Case, b: Case) => (a.endpoint === b.endpoint ? a.metric.localeCompare(b.metric) : a.endpoint.localeCompare(b.endpoint));
  switch (f.sort) {
    case "age": return rows.sort(newest);
    case "endpoint": return rows.sort((a, b) => byName(a, b) || newest(a, b));
    case "priority": return rows.sort((a, b) => a.priority - b.priority || newest(a, b));
  }
}

export type By = "" | "metric" | "host";

/** Rows that belong together, in the order in which their first ones stand; "" leaves all in one. */
export function grouped(rows: readonly Case[], by: By): { name: string; rows: Case[] }[] {
  if (by === "") return rows.length > 0 ? [{ name: "", rows: [...rows] }] : [];
  const groups = new Map<string, Case[]>();
  for (const c of rows) {
    const name = by === "host" ? c.endpoint : splitCounter(c.metric).metric;
    const there = groups.get(name);
    if (there) there.push(c);
    else groups.set(name, [c]);
  }
  return [...groups].map(([name, of]) => ({ name, rows: of }));
}

/** How many cases there are of each priority, lowest number first. */
export function perPriority(cases: readonly Case[]): [number, number][] {
  const n = new Map<number, number>();
  for (const c of cases) n.set(c.priority, (n.get(c.priority) ?? 0) + 1);
  return [...n].sort((a, b) => a[0] - b[0]);
}

/** Where the rule of a case begins to hold, for the chart of its counter. */
export function thresholdOf(c: Case): Threshold | null {
  // Functions of differences and of deviation compare something else than the values drawn.
  if (/^(diff|pdiff|c_avg|stddev)/.test(c.func ?? "")) return null;
  const cond = parseCondition(c.cond);
  return cond ? { counter: c.metric, op: cond.op, value: cond.right } : null;
}

/** The address of the chart of a case, with its threshold in it. */
export function chartOf(c: Case, now: number): string {
  const t = thresholdOf(c);
  const ended = c.status === "OK" ? when(c.update_at) : 0;
  const began = when(c.timestamp);
  const far = now - (ended || began) > 3000;
  const span = !far ? {} : ended ? { from: began - 1800, to: ended + 1800 } : now - began < 6 * 3600 ? { range: "6h" as const } : now - began < 86400 ? { range: "1d" as const } : { range: "3d" as const };
  return "/explore" + formatView({ ...defaults, endpoints: [c.endpoint], counters: [c.metric], thresholds: t ? [t] : [], pane: "charts", ...span });
}

/**
 * When the incident of a case began, 0 where that is not known: the row of one that is
 * over may have the time of its end in both places, the events still know.
 */
export function began(c: Case, events: readonly CaseEvent[] = []): number {
  const row = when(c.timestamp);
  if (c.status !== "OK" || row < when(c.update_at)) return row;
  const first = events.filter((e) => e.status === 0 && e.step === 1).map((e) => when(e.timestamp)).filter((ts) => ts <= row);
  return first.length > 0 ? Math.max(...first) : 0;
}

export type Entry = { ts: number } & ({ kind: "event"; event: CaseEvent } | { kind: "notice"; notice: Notice } | { kind: "note"; note: Note });

/** Events, notices and notes as one story, the newest first; what people were told of an event stands above it. */
export function story(events: readonly CaseEvent[], notices: readonly Notice[], notes: readonly Note[]): Entry[] {
  const all: Entry[] = [
    ...notes.map((note): Entry => ({ ts: when(note.timestamp), kind: "note", note })),
    ...notices.map((notice): Entry => ({ ts: when(notice.send_ts) || when(notice.event_ts), kind: "notice", notice })),
    ...events.map((event): Entry => ({ ts: when(event.timestamp), kind: "event", event })),
  ];
  const rank = { event: 0, notice: 1, note: 2 };
  const id = (e: Entry) => (e.kind === "event" ? e.event.id : e.kind === "notice" ? e.notice.id : 0);
  return all.sort((a, b) => b.ts - a.ts || rank[b.kind] - rank[a.kind] || id(b) - id(a));
}
