import { expect, test } from "vitest";
import { openSpans, secondsOf, thresholdOf, type Tried } from "./tried";

const event = (counter: string, time: number, status: "PROBLEM" | "OK", step = 1) => ({ endpoint: "h", counter, time, value: 1, status, step });
const series = (counter: string) => ({ endpoint: "h", counter, type: "GAUGE", step: 60, fired: 1, firing: false, points: [] });

test("a problem is open from its first message to its end, or to the end of the range", () => {
  const tried = {
    end: 900, series: [series("a"), series("b")],
    events: [event("a", 60, "PROBLEM"), event("b", 120, "PROBLEM"), event("a", 360, "PROBLEM", 2), event("a", 420, "OK"), event("c", 430, "PROBLEM"), event("a", 600, "PROBLEM")],
  } as unknown as Tried;
  expect(openSpans(tried)).toEqual([{ line: 0, from: 60, to: 420 }, { line: 0, from: 600, to: 900 }, { line: 1, from: 120, to: 900 }]);
});

test.each<[string, string, string, number | null]>([
  ["all(#3)", "<", "5", 5], ["lookup(#2,3)", ">", "-1.5", -1.5], ["avg(#5)", ">", "0", 0],
  ["diff(#3)", ">", "5", null], ["stddev(#11)", ">", "3", null], ["sum(#3)", ">", "5", null], ["all(#3)", "<", "", null], ["all(#3)", "<", "x", null],
])("%s %s %s is drawn at %s", (func, op, right, want) => expect(thresholdOf(func, op, right)?.value ?? null).toBe(want));

test("ranges have lengths", () => {
  expect(secondsOf("6h")).toBe(21600);
  expect(secondsOf("7d")).toBe(604800);
});
