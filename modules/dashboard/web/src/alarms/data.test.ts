import { expect, test } from "vitest";
import { began, chartOf, chosen, grouped, perPriority, story, thresholdOf, type Case, type CaseEvent, type Notice } from "./data";

const row = (change: Partial<Case>): Case => ({
  id: "s_1_a", endpoint: "web-1", metric: "cpu.idle", func: "all(#3)", cond: "5 < 10", note: "", step: 3, current_step: 1, priority: 1, status: "PROBLEM",
  timestamp: 1000, update_at: 1000, expression_id: 0, strategy_id: 1, template_id: 1, ...change,
});
const rows = [
  row({ id: "a", priority: 2, timestamp: 3000 }),
  row({ id: "b", priority: 0, timestamp: 1000, endpoint: "db-1", note: "disk full" }),
  row({ id: "c", priority: 0, timestamp: "1970-01-01T00:33:20Z", metric: "df.bytes.free/mount=/" }),
];
const none = { q: "", endpoint: "", priority: "", sort: "priority" as const };

test.each([
  [{}, ["c", "b", "a"]],
  [{ sort: "age" as const }, ["a", "c", "b"]],
  [{ sort: "endpoint" as const }, ["b", "a", "c"]],
  [{ priority: "0" }, ["c", "b"]],
  [{ q: "disk" }, ["b"]],
  [{ q: "mount=/ -db" }, ["c"]],
  [{ endpoint: "db" }, ["b"]],
  [{ q: "cpu", endpoint: "web" }, ["a"]],
])("%j chooses %j", (f, want) => expect(chosen(rows, { ...none, ...f }).map((c) => c.id)).toEqual(want));

test("cases that belong together stand together", () => {
  const shape = (by: "" | "metric" | "host") => grouped(rows, by).map((g) => g.name + ":" + g.rows.map((c) => c.id).join(""));
  expect(shape("")).toEqual([":abc"]);
  expect(shape("metric")).toEqual(["cpu.idle:ab", "df.bytes.free:c"]);
  expect(shape("host")).toEqual(["web-1:ac", "db-1:b"]);
  expect(grouped([], "")).toEqual([]);
});

test("cases are counted by priority", () => expect(perPriority(rows)).toEqual([[0, 2], [2, 1]]));

test("a threshold is drawn where values are compared", () => {
  expect(thresholdOf(row({}))).toEqual({ counter: "cpu.idle", op: "<", value: 10 });
  expect(thresholdOf(row({ func: "diff(#3)" }))).toBeNull();
  expect(thresholdOf(row({ cond: "?" }))).toBeNull();
});

test("the chart of a case shows when it was", () => {
  expect(chartOf(row({}), 1500)).toBe("/explore?e=web-1&c=cpu.idle&pane=charts&t=cpu.idle%3C10");
  expect(chartOf(row({ timestamp: 100_000 }), 110_000)).toContain("r=6h");
  expect(chartOf(row({ timestamp: 100_000 }), 150_000)).toContain("r=1d");
  expect(chartOf(row({ status: "OK", timestamp: 100_000, update_at: 103_600 }), 500_000)).toContain("from=98200&to=105400");
});

test("the beginning of what is over", () => {
  const event = (step: number, status: number, timestamp: number): CaseEvent => ({ id: timestamp, step, cond: "", status, timestamp });
  expect(began(row({ timestamp: 100, update_at: 100 }))).toBe(100);
  expect(began(row({ status: "OK", timestamp: 100, update_at: 900 }))).toBe(100);
  expect(began(row({ status: "OK", timestamp: 900, update_at: 900 }))).toBe(0);
  expect(began(row({ status: "OK", timestamp: 900, update_at: 900 }), [event(1, 1, 900), event(2, 0, 700), event(1, 0, 500), event(1, 1, 400), event(1, 0, 300)])).toBe(500);
});

test("events and notices are one story", () => {
  const event = (id: number, timestamp: number): CaseEvent => ({ id, step: id, cond: "5 < 10", status: 0, timestamp });
  const notice = (id: number, send_ts: number): Notice => ({ id, event_ts: 0, send_ts, status: "PROBLEM", step: 1, action_id: 1, receiver: "root", channel: "mail", result: "sent", attempts: 1, answer: "" });
  const told = story([event(2, 200), event(1, 100)], [notice(7, 100), notice(8, 101), notice(9, 0)], [{ note: "on it", status: "in progress", timestamp: 100, user: "anna" }]);
  expect(told.map((e) => (e.kind === "event" ? "e" + e.event.id : e.kind === "notice" ? "n" + e.notice.id : e.note.user))).toEqual(["e2", "n8", "anna", "n7", "e1", "n9"]);
});
