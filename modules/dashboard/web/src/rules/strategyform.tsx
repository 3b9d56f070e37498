// A strategy on its way: checked while it is written, with the series that it would watch.
import { useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect } from "preact/hooks";
import { ApiError, call, isAbort } from "../api";
import { count, say, t, type Key } from "../i18n";
import { Field, valueOf } from "../ui/field";
import { useLoad } from "../load";
import { fieldOf, post, put, read, useWrite } from "../write";
import { bodyOf, compares, counts, texts, turned, whole, type Draft, type DraftField } from "./data";
import { TryRule } from "./tryrule";

const typing = 300; // ms of silence after which a draft is checked

interface Check {
  ok: boolean;
  errors: { field: string; error: string }[] | null;
  warnings: string[] | null;
  matches: number;
  /** There are more series than were counted. */
  more?: boolean;
  examples: string[] | null;
}

export const operators = ["<", "<=", ">", ">=", "==", "!="];
export const functions = ["all(#3)", "max(#3)", "min(#3)", "avg(#5)", "sum(#3)", "diff(#2)", "pdiff(#2)", "lookup(#2,3)", "stddev(#7)"];

const textOperators = ["==", "!=", "contains", "!contains", "=~", "!~"];
const textFunctions = ["all(#1)", "all(#3)", "lookup(#2,3)", "diff(#1)", "change(#10)"];

const textsExplained: readonly (readonly [sign: string, key: Key])[] = [
  ["mount=/", "explain.tags"], ["^mount=/boot", "explain.not"], ["all(#3)", "explain.all"], ["lookup(#2,3)", "explain.lookup"], ["diff(#3)", "explain.text.diff"],
  ["change(#10)", "explain.text.change"], ["contains", "explain.text.contains"], ["=~ !~", "explain.text.match"], ["12.5", "explain.text.number"],
  ["p0 … p9", "explain.priority"], ["3", "explain.max"], ["22:00 08:00", "explain.hours"],
];

export const explained: readonly (readonly [sign: string, key: Key])[] = [
  ["mount=/", "explain.tags"], ["^mount=/boot", "explain.not"], ["all(#3)", "explain.all"], ["max min avg sum", "explain.avg"], ["diff pdiff", "explain.diff"],
  ["lookup(#2,3)", "explain.lookup"], ["stddev(#11)", "explain.stddev"], ["p0 … p9", "explain.priority"], ["3", "explain.max"], ["22:00 08:00", "explain.hours"],
];

interface Props {
  /** Of the template it belongs to. */
  tpl: number;
  /** 0 for a new one. */
  id: number;
  first: Draft;
  onSaved(): void;
  onClose(): void;
}

export function StrategyForm({ tpl, id, first, onSaved, onClose }: Props) {
  const draft = useSignal<Draft>(first);
  const touched = useSignal<ReadonlySet<string>>(new Set());
  const tried = useSignal(false);
  const check = useSignal<Check | null>(null);
  const checking = useSignal(false);
  const unchecked = useSignal<unknown>(null);
  const w = useWrite();
  const metrics = useLoad("metrics", (s) => read<string[]>("/metric/default_list", s));
  const d = draft.value;

  useEffect(() => {
    const ctl = new AbortController();
    checking.value = true;
    const timer = setTimeout(async () => {
      try {
        check.value = (await call<Check>("/strategy/check", { method: "POST", body: { ...bodyOf(d), tpl_id: tpl }, signal: ctl.signal })).data;
        unchecked.value = null;
      } catch (err) {
        if (isAbort(err)) return;
        check.value = null;
        unchecked.value = err;
      }
      checking.value = false;
    }, typing);
    return () => {
      clearTimeout(timer);
      ctl.abort();
    };
  }, [d]);

  const set = (field: DraftField) => (e: Event) => {
    draft.value = { ...draft.peek(), [field]: valueOf(e) };
    touched.value = new Set([...touched.peek(), field]);
    w.clear();
  };
  const wrong = (field: DraftField): string | undefined => {
    if ((field === "max_step" || field === "priority") && whole(d[field]) === null) return t("whole");
    if (fieldOf(w.error) === field) return say(w.error);
    // What nobody has written yet is not wrong.
    if (!tried.value && !touched.value.has(field)) return undefined;
    return check.value?.errors?.find((e) => e.field === field)?.error;
  };
  const known: readonly string[] = ["metric", "tags", "func", "op", "right_value", "max_step", "priority", "note", "run_begin", "run_end", "value_type", "right_string"];
  const others = (check.value?.errors ?? []).filter((e) => !known.includes(e.field));
  const send = async (e: Event) => {
    e.preventDefault();
    tried.value = true;
    if (whole(d.max_step) === null || whole(d.priority) === null) return;
    const body = bodyOf(d);
    if (await w.run(() => (id ? put("/strategy", { ...body, id }) : post("/strategy", { ...body, tpl_id: tpl })))) onSaved();
  };
  const input = (field: DraftField, label: Key, name: string, more: Record<string, unknown> = {}) => (
    <Field label={t(label)} class={name} error={wrong(field)}>
      <input class={"field" + (field === "note" ? "" : " mono")} name={field} value={d[field]} onInput={set(field)} spellcheck={false} autocomplete="off" {...more} />
    </Field>
  );
  const c = check.value;
  const text = texts(d);
  const ops = text ? textOperators : texts(first) ? operators : [...new Set([...operators, first.op])];
  const turn = (e: Event) => {
    draft.value = turned(draft.peek(), valueOf(e) === "string" ? "string" : "number");
    touched.value = new Set();
    w.clear();
  };
  return (
    <form class="stack strategy-form" noValidate onSubmit={(e: Event) => void send(e)} onKeyDown={(e: KeyboardEvent) => e.key === "Escape" && onClose()} aria-label={id ? t("strategy.edit") : t("strategy.new")}>
      <div class="stack">
        <div class="fields">
          {input("metric", "metric", "w6", { list: "metrics", autofocus: true, placeholder: "cpu.idle" })}
          {input("tags", "tags", "w4", { placeholder: t("tags.hint") })}
          <Field label={t("values")} class="w2" error={wrong("value_type")}>
            <select class="field" name="value_type" value={text ? "string" : "number"} onChange={turn}>
              <option value="number">{t("values.numbers")}</option>
              <option value="string">{t("values.texts")}</option>
            </select>
          </Field>
          {input("func", "func", "w3 n5", { list: "functions" })}
          {text && !compares(d.func) ? null : (
            <Field label={t("op")} class="w2 n3" error={wrong("op")}>
              <select class="field mono" name="op" value={d.op} onChange={set("op")}>{ops.map((o) => <option key={o} value={o}>{o}</option>)}</select>
            </Field>
          )}
          {!text ? input("right_value", "threshold", "w3 n4", { inputMode: "decimal" }) : counts(d.func) ? input("right_string", "changes", "w3 n4", { inputMode: "numeric" }) : compares(d.func) ? input("right_string", "right_string", "w3 n4") : null}
          {input("max_step", "max_step", "w2 n6", { inputMode: "numeric" })}
          <Field label={t("priority")} class="w2 n6" error={wrong("priority")}>
            <select class="field" name="priority" value={d.priority} onChange={set("priority")}>{[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((p) => <option key={p} value={String(p)}>p{p}</option>)}</select>
          </Field>
          {input("note", "note", "w6", { placeholder: t("note.hint") })}
          {input("run_begin", "run_begin", "w3 n6", { placeholder: "00:00" })}
          {input("run_end", "run_end", "w3 n6", { placeholder: "24:00" })}
          <datalist id="metrics">{(metrics.data ?? []).filter((m) => m !== "").map((m) => <option key={m} value={m} />)}</datalist>
          <datalist id="functions">{(text ? textFunctions : functions).map((f) => <option key={f} value={f} />)}</datalist>
        </div>
        <details class="explain">
          <summary>{t("explain")}</summary>
          <dl>
            {(text ? textsExplained : explained).map(([sign, key]) => <Fragment key={key}><dt class="mono">{sign}</dt><dd>{t(key)}</dd></Fragment>)}
          </dl>
        </details>
        {(c?.warnings ?? []).map((text) => <div key={text} class="note warn">{text}</div>)}
        {others.map((e) => <div key={e.field} class="failure" role="alert">{e.field}: {e.error}</div>)}
        {w.error && !known.includes(fieldOf(w.error)) ? <div class="failure" role="alert">{say(w.error)}</div> : null}
      </div>
      {text ? null : <TryRule path="/strategy/backtest" body={{ ...bodyOf(d), ...(id ? { id } : {}), tpl_id: tpl }} draft={d} metric={d.metric} />}
      <div class="form-foot">
        <div class="matches" role="status">
          {unchecked.value && !(unchecked.value instanceof ApiError && unchecked.value.status === 400) ? <span class="warn-text">{t("check.away", { text: say(unchecked.value) })}</span> : null}
          {c && !text && d.metric.trim() !== "" ? (
            <>
              <b class={c.matches > 0 ? "ok-text" : "warn-text"}>{c.matches === 0 ? t("matches.none") : t("matches", { n: count(c.matches) + (c.more ? "+" : "") })}</b>
              {(c.examples ?? []).slice(0, 3).map((x) => <span key={x} class="mono sub">{x}</span>)}
            </>
          ) : null}
          {checking.value && !c ? <span class="sub">{t("loading")}</span> : null}
        </div>
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>{t("cancel")}</button>
          <button type="submit" class="button primary" disabled={w.busy} aria-busy={w.busy}>{id ? t("save") : t("strategy.add")}</button>
        </div>
      </div>
    </form>
  );
}
