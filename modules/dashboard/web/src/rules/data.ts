// Templates, strategies, groups, hosts, teams and channels, as the api answers them.

export interface Template {
  id: number;
  tpl_name: string;
  parent_id: number;
  action_id: number;
  create_user: string;
}

export interface TemplateRow {
  template: Template;
  parent_name: string;
}

export interface Action {
  id: number;
  /** Names of teams, joined with commas. */
  uic: string;
  url: string;
  callback: number;
  before_callback_sms: number;
  before_callback_mail: number;
  after_callback_sms: number;
  after_callback_mail: number;
  /** Names of channels, joined with commas; empty is every enabled one. */
  channels?: string;
}

export interface Strategy {
  id: number;
  metric: string;
  tags: string;
  max_step: number;
  priority: number;
  func: string;
  op: string;
  right_value: string;
  note: string;
  run_begin: string;
  run_end: string;
  tpl_id: number;
  /** "string" for a rule about texts. */
  value_type?: string;
  /** What such a rule compares with. */
  right_string?: string;
}

export interface TemplateDetail {
  template: Template;
  stratges: Strategy[] | null;
  action: Action | null;
  parent_name: string;
}

/** A strategy that comes down to a template, with where it is from. */
export interface Inherited {
  strategy: Strategy;
  tpl_id: number;
  tpl_name: string;
  /** The strategy that replaces it, 0 for none. */
  overridden_by: number;
  own: boolean;
}

export interface Inheritance {
  /** From the root to the template itself. */
  chain: { id: number; tpl_name: string }[];
  strategies: Inherited[] | null;
}

export interface Group {
  id: number;
  grp_name: string;
  create_user: string;
}

export interface Host {
  id: number;
  hostname: string;
  ip: string;
  agent_version: string;
  plugin_version: string;
  alive: boolean;
  /** Unix seconds of its last heartbeat, 0 for none. */
  last_seen: number;
  maintain_begin: number;
  maintain_end: number;
  groups: { id: number; grp_name: string }[] | null;
  /** prod, staging or test; empty for unknown. */
  env: string;
  /** Unix seconds; 0: it is not disabled. */
  disabled_until: number;
  /** Why the last upgrade of its agent came to nothing. */
  upgrade_error?: string;
}

export interface Person {
  id: number;
  name: string;
  cnname: string;
  email: string;
  phone: string;
  im: string;
  qq: string;
  role: number;
}

export interface TeamRow {
  team: { id: number; name: string; resume: string; creator: number };
  creator_name: string;
  users: Person[] | null;
}

export interface Channel {
  id: number;
  name: string;
  type: string;
  config: Record<string, unknown>;
  enabled: boolean;
  creator: string;
}

/**
 * Strategies in the order in which people read them: those that watch the same stand
 * together, from the root's to the template's own, so that what overrides is below
 * what it overrides.
 */
export function inOrder(rows: readonly Inherited[], chain: readonly { id: number }[]): Inherited[] {
  const depth = new Map(chain.map((t, i) => [t.id, i]));
  const watches = (r: Inherited) => r.strategy.metric + "/" + r.strategy.tags;
  return [...rows].sort((a, b) => {
    const [x, y] = [watches(a), watches(b)];
    if (x !== y) return x < y ? -1 : 1;
    return (depth.get(a.tpl_id) ?? 0) - (depth.get(b.tpl_id) ?? 0) || a.strategy.id - b.strategy.id;
  });
}

/** The templates that can not be a parent of id: itself and those that come from it. */
export function below(templates: readonly Template[], id: number): Set<number> {
  const out = new Set([id]);
  for (let grown = true; grown; ) {
    grown = false;
    for (const t of templates) {
      if (out.has(t.parent_id) && !out.has(t.id)) {
        out.add(t.id);
        grown = true;
      }
    }
  }
  return out;
}

/** Names joined with commas, in parts. */
export const parts = (joined: string | undefined): string[] => (joined ?? "").split(",").map((s) => s.trim()).filter((s) => s !== "");

export type Draft = Record<"metric" | "tags" | "func" | "op" | "right_value" | "max_step" | "priority" | "note" | "run_begin" | "run_end" | "value_type" | "right_string", string>;
export type DraftField = keyof Draft;

export const emptyDraft: Draft = { metric: "", tags: "", func: "all(#3)", op: "<", right_value: "", max_step: "3", priority: "2", note: "", run_begin: "", run_end: "", value_type: "", right_string: "" };

export const draftOf = (s: Strategy): Draft => ({
  metric: s.metric, tags: s.tags, func: s.func, op: s.op, right_value: s.right_value, max_step: String(s.max_step), priority: String(s.priority),
  note: s.note, run_begin: s.run_begin, run_end: s.run_end, value_type: s.value_type ?? "", right_string: s.right_string ?? "",
});

/** A whole number that is not negative, or null. */
export const whole = (text: string): number | null => (/^\d{1,6}$/.test(text.trim()) ? Number(text) : null);

/** Whether a rule is about texts. */
export const texts = (d: { value_type?: string }): boolean => d.value_type === "string";

/** Whether a function over texts compares them by an operator: diff and change do not. */
export const compares = (func: string): boolean => !/^\s*(diff|change)\(/.test(func);
/** Whether a function over texts is compared with a number of changes. */
export const counts = (func: string): boolean => /^\s*change\(/.test(func);

/** The draft with the other kind of value, and what usually stands in its fields. */
export const turned = (d: Draft, kind: "string" | "number"): Draft =>
  kind === "string" ? { ...d, value_type: kind, func: "all(#1)", op: "!=", right_string: "" } : { ...d, value_type: kind, func: "all(#3)", op: "<", right_value: "" };

/** The condition of a rule, as people read it: all(#3) < 5, all(#1) != "ok", diff(#3). */
export const conditionOf = (s: { func: string; op: string; right_value: string; value_type?: string; right_string?: string }): string =>
  !texts(s) ? `${s.func} ${s.op} ${s.right_value}` : counts(s.func) ? `${s.func} >= ${s.right_string ?? ""}` : compares(s.func) ? `${s.func} ${s.op} ${JSON.stringify(s.right_string ?? "")}` : s.func;

/** The body that the api takes of a draft. A rule that was always about numbers says no more than it ever did. */
export const bodyOf = (d: Draft) => ({
  metric: d.metric.trim(), tags: d.tags.trim(), func: d.func.trim(), op: d.op,
  ...(texts(d) ? { right_string: d.right_string } : { right_value: d.right_value.trim() }), ...(d.value_type ? { value_type: d.value_type } : {}),
  max_step: whole(d.max_step) ?? 0, priority: whole(d.priority) ?? 0, note: d.note.trim(), run_begin: d.run_begin.trim(), run_end: d.run_end.trim(),
});
