import { expect, test } from "vitest";
import { below, bodyOf, conditionOf, draftOf, emptyDraft, inOrder, parts, turned, whole, type Inherited, type Strategy, type Template } from "./data";

const strategy = (id: number, metric: string, tags = ""): Strategy => ({
  id, metric, tags, max_step: 3, priority: 1, func: "all(#3)", op: "<", right_value: "5", note: "n", run_begin: "08:00", run_end: "22:00", tpl_id: 1,
});
const row = (id: number, metric: string, tpl_id: number, tags = ""): Inherited => ({ strategy: strategy(id, metric, tags), tpl_id, tpl_name: "t" + tpl_id, overridden_by: 0, own: false });

test("what overrides stands below what it overrides", () => {
  const rows = [row(9, "b", 2), row(1, "b", 3), row(5, "a", 3), row(4, "b", 1), row(2, "b", 1, "x=1"), row(3, "b", 1)];
  expect(inOrder(rows, [{ id: 1 }, { id: 2 }, { id: 3 }]).map((r) => r.strategy.id)).toEqual([5, 3, 4, 9, 1, 2]);
});

test("a template has no parent below itself", () => {
  const t = (id: number, parent_id: number): Template => ({ id, parent_id, tpl_name: "t" + id, action_id: 0, create_user: "" });
  const all = [t(4, 3), t(1, 0), t(2, 1), t(3, 2), t(5, 1)];
  expect([...below(all, 2)].sort()).toEqual([2, 3, 4]);
  expect([...below(all, 9)]).toEqual([9]);
  expect([...below([t(1, 2), t(2, 1)], 1)].sort()).toEqual([1, 2]); // a ring ends, too
});

test("names that are joined", () => {
  expect(parts(" a, b,,c ")).toEqual(["a", "b", "c"]);
  expect(parts(undefined)).toEqual([]);
});

test.each([["3", 3], [" 0 ", 0], ["", null], ["-1", null], ["1.5", null], ["1e3", null], ["9999999", null]])("%j is the whole number %s", (text, want) => expect(whole(text)).toBe(want));

test("a draft is the strategy that it was made of", () => {
  const { id, tpl_id, ...rest } = strategy(7, "cpu.idle", "core=1");
  expect([id, tpl_id]).toEqual([7, 1]);
  expect(bodyOf(draftOf(strategy(7, "cpu.idle", "core=1")))).toEqual(rest);
  expect(bodyOf({ ...emptyDraft, metric: " cpu.idle " }).metric).toBe("cpu.idle");
});

test("a rule about texts says so, one about numbers no more than ever", () => {
  const s: Strategy = { ...strategy(7, "app.state"), func: "all(#1)", op: "=~", right_value: "str", value_type: "string", right_string: " ^ok$" };
  const body = bodyOf(draftOf(s));
  expect(body).toMatchObject({ value_type: "string", right_string: " ^ok$" });
  expect("right_value" in body).toBe(false);
  expect("value_type" in bodyOf(draftOf(strategy(7, "cpu.idle")))).toBe(false);
  expect(bodyOf(turned(draftOf(s), "number")).value_type).toBe("number");
  expect(bodyOf(turned({ ...emptyDraft, metric: "m" }, "string"))).toMatchObject({ value_type: "string", func: "all(#1)", op: "!=", right_string: "" });
});

test.each([
  ["all(#3)", "<", "5", undefined, undefined, "all(#3) < 5"],
  ["all(#1)", "!=", "str", "string", "o\"k", 'all(#1) != "o\\"k"'],
  ["diff(#3)", "!=", "str", "string", "", "diff(#3)"],
  ["change(#5)", ">=", "str", "string", "2", "change(#5) >= 2"],
])("the condition of %s %s", (func, op, right_value, value_type, right_string, want) => {
  expect(conditionOf({ func, op, right_value, ...(value_type ? { value_type, right_string: right_string as string } : {}) })).toBe(want);
});
