// The expressions: rules about series by their tags, on whatever host they are.
import { useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { count, say, t, type Key } from "../i18n";
import { useLoad } from "../load";
import { ask, param } from "../query";
import { matcher } from "../text";
import { Confirm } from "../ui/dialog";
import { checkedOf, Field, valueOf } from "../ui/field";
import { DeleteIcon, EditIcon, PlusIcon } from "../ui/icons";
import { Filter, Head, None, Priority, Status, Tool } from "../ui/parts";
import { told } from "../ui/toast";
import { fieldOf, post, put, read, remove, useWrite } from "../write";
import { ActionFields, noAction } from "./action";
import { parts, whole, type Action } from "./data";
import { explained, functions, operators } from "./strategyform";
import { TryRule } from "./tryrule";

interface Expression {
  id: number;
  /** each(metric=qps srv=pay) */
  expression: string;
  func: string;
  op: string;
  right_value: string;
  max_step: number;
  priority: number;
  note: string;
  create_user: string;
  /** 1: it is not judged. */
  pause: number;
}

interface Detail {
  expression: Expression;
  action: Action | null;
}

type DraftField = "expression" | "func" | "op" | "right_value" | "max_step" | "priority" | "note";
type Draft = Record<DraftField, string> & { pause: boolean };

const empty: Draft = { expression: "each(metric= )", func: "all(#3)", op: ">", right_value: "", max_step: "3", priority: "2", note: "", pause: false };
const draftOf = (e: Expression): Draft => ({
  expression: e.expression, func: e.func, op: e.op, right_value: e.right_value, max_step: String(e.max_step), priority: String(e.priority), note: e.note, pause: e.pause === 1,
});

/** The body that the api takes of the condition, and of all. */
const condition = (d: Draft) => ({
  expression: d.expression.trim(), func: d.func.trim(), op: d.op, right_value: d.right_value.trim(), max_step: whole(d.max_step) ?? 0, priority: whole(d.priority) ?? 0,
});
const bodyOf = (d: Draft, a: Action) => {
  const { id: _, uic, ...rest } = a;
  return { ...condition(d), note: d.note.trim(), pause: d.pause ? 1 : 0, action: { ...rest, uic: parts(uic) } };
};
const metricOf = (expression: string): string => /\bmetric=([^\s,;)]+)/.exec(expression)?.[1] ?? "";

export function Expressions() {
  const list = useLoad("expressions", (s) => read<Expression[] | null>("/expression", s).then((a) => a ?? []));
  const gone = useSignal<Expression | null>(null);
  const w = useWrite();
  const all = list.data ?? [];
  const match = matcher(param("q"));
  const rows = all.filter((e) => match([e.expression, e.func, e.note, e.create_user])).sort((a, b) => a.expression.localeCompare(b.expression) || a.id - b.id);
  const edit = param("edit"); // "new" or an id
  const close = () => ask({ edit: "" }, true);
  const saved = () => {
    close();
    told(t("saved"));
    list.reload();
  };
  // What is saved is all of it: the rest is as it stands.
  const turn = (e: Expression) => void w.run(async () => {
    const one = await read<Detail>("/expression/" + e.id);
    await put("/expression", { ...bodyOf({ ...draftOf(one.expression), pause: e.pause !== 1 }, one.action ?? noAction), id: e.id });
  }).then((ok) => ok && list.reload());
  return (
    <div class="page">
      <header class="page-head">
        <h1>{t("expressions")} <span class="count">{list.data ? count(all.length) : ""}</span></h1>
        <Filter value={param("q")} placeholder={t("expression.filter")} onText={(q) => ask({ q }, true)} />
        <div class="end"><button type="button" class="button primary" onClick={() => ask({ edit: "new" })}><PlusIcon /> {t("expression.new")}</button></div>
      </header>
      <Status of={[list]} />
      {w.error ? <div class="failure" role="alert">{say(w.error)}</div> : null}
      {edit === "new" ? <div class="inset"><ExpressionForm key="new" id={0} first={empty} action={noAction} onSaved={saved} onClose={close} /></div> : null}
      {rows.length > 0 ? (
        <table class="grid blocks expressions">
          <Head columns={[[t("expression.on"), "tight"], [t("expression")], [t("condition")], [t("priority.short")], [t("max_step.short"), "wide-only"], [t("note"), "wide-only"], [t("creator"), "wide-only"]]} tools />
          <tbody>
            {rows.map((e) => {
              const editing = edit === String(e.id);
              return (
                <Fragment key={e.id}>
                  <tr class={(e.pause === 1 ? "gone" : "") + (editing ? " on" : "")}>
                    <td class="tight">
                      <label class="check"><input type="checkbox" checked={e.pause !== 1} disabled={w.busy} onChange={() => turn(e)} aria-label={`${t("expression.on")}: ${e.expression}`} /></label>
                    </td>
                    <td class="mono main">{e.expression}{e.pause === 1 ? <span class="sub paused"> {t("expression.paused")}</span> : null}</td>
                    <td class="mono">{e.func} {e.op} {e.right_value}</td>
                    <td><Priority p={e.priority} /></td>
                    <td class="wide-only">{e.max_step}</td>
                    <td class="wide-only clip note-cell" title={e.note}>{e.note}</td>
                    <td class="wide-only sub">{e.create_user}</td>
                    <td class="tools-col">
                      <Tool does={t("edit")} to={e.expression} onClick={() => ask({ edit: editing ? "" : String(e.id) })}><EditIcon /></Tool>
                      <Tool does={t("delete")} to={e.expression} onClick={() => (gone.value = e)}><DeleteIcon /></Tool>
                    </td>
                  </tr>
                  {editing ? <tr class="flat"><td colSpan={8} class="inset"><EditExpression id={e.id} onSaved={saved} onClose={close} /></td></tr> : null}
                </Fragment>
              );
            })}
          </tbody>
        </table>
      ) : all.length > 0 ? <div class="blank">{t("nomatch")}</div> : edit === "new" ? null : <None of={list}><b>{t("expression.none")}</b><span>{t("expression.none.text")}</span></None>}
      {gone.value ? (
        <Confirm
          title={t("delete.what", { name: gone.value.expression })} text={t("expression.delete.text")} action={t("delete")} onClose={() => (gone.value = null)}
          onYes={async () => {
            await remove("/expression/" + (gone.value as Expression).id);
            list.reload();
          }}
        />
      ) : null}
    </div>
  );
}

function EditExpression({ id, onSaved, onClose }: { id: number; onSaved(): void; onClose(): void }) {
  const one = useLoad("expression " + id, (s) => read<Detail>("/expression/" + id, s));
  if (!one.data) return <Status of={[one]} />;
  return <ExpressionForm id={id} first={draftOf(one.data.expression)} action={{ ...noAction, ...one.data.action, channels: one.data.action?.channels ?? "" }} onSaved={onSaved} onClose={onClose} />;
}

interface FormProps {
  /** 0 for a new one. */
  id: number;
  first: Draft;
  action: Action;
  onSaved(): void;
  onClose(): void;
}

function ExpressionForm({ id, first, action, onSaved, onClose }: FormProps) {
  const draft = useSignal<Draft>(first);
  const act = useSignal<Action>(action);
  const w = useWrite();
  const d = draft.value;
  const change = (x: Partial<Draft>) => {
    draft.value = { ...draft.peek(), ...x };
    w.clear();
  };
  const set = (field: DraftField) => (e: Event) => change({ [field]: valueOf(e) });
  const fields: readonly string[] = ["expression", "func", "op", "right_value", "max_step", "priority", "note", "url"];
  const wrong = (field: DraftField): string | undefined => {
    if ((field === "max_step" || field === "priority") && whole(d[field]) === null) return t("whole");
    return fieldOf(w.error) === field ? say(w.error) : undefined;
  };
  const input = (field: DraftField, label: Key, name: string, more: Record<string, unknown> = {}) => (
    <Field label={t(label)} class={name} error={wrong(field)}>
      <input class={"field" + (field === "note" ? "" : " mono")} name={field} value={d[field]} onInput={set(field)} spellcheck={false} autocomplete="off" {...more} />
    </Field>
  );
  const send = async (e: Event) => {
    e.preventDefault();
    if (whole(d.max_step) === null || whole(d.priority) === null) return;
    const body = bodyOf(d, act.value);
    if (await w.run(() => (id ? put("/expression", { ...body, id }) : post("/expression", body)))) onSaved();
  };
  return (
    <form class="stack strategy-form" noValidate onSubmit={(e: Event) => void send(e)} onKeyDown={(e: KeyboardEvent) => e.key === "Escape" && onClose()} aria-label={t(id ? "expression.edit" : "expression.new")}>
      <div class="stack">
        <div class="fields">
          {input("expression", "expression", "", { autofocus: true, placeholder: "each(metric=qps srv=pay)" })}
          {input("func", "func", "w3 n5", { list: "functions" })}
          <Field label={t("op")} class="w2 n3" error={wrong("op")}>
            <select class="field mono" name="op" value={d.op} onChange={set("op")}>{[...new Set([...operators, first.op])].map((o) => <option key={o} value={o}>{o}</option>)}</select>
          </Field>
          {input("right_value", "threshold", "w3 n4", { inputMode: "decimal" })}
          {input("max_step", "max_step", "w2 n6", { inputMode: "numeric" })}
          <Field label={t("priority")} class="w2 n6" error={wrong("priority")}>
            <select class="field" name="priority" value={d.priority} onChange={set("priority")}>{[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((p) => <option key={p} value={String(p)}>p{p}</option>)}</select>
          </Field>
          {input("note", "note", "", { placeholder: t("note.hint") })}
          <datalist id="functions">{functions.map((f) => <option key={f} value={f} />)}</datalist>
        </div>
        <details class="explain">
          <summary>{t("explain")}</summary>
          <dl>
            <dt class="mono">each(…)</dt><dd>{t("expression.text")}</dd>
            {explained.filter(([, key]) => key !== "explain.tags" && key !== "explain.hours").map(([sign, key]) => <Fragment key={key}><dt class="mono">{sign}</dt><dd>{t(key)}</dd></Fragment>)}
          </dl>
        </details>
        <h2>{t("action")}</h2>
        <ActionFields
          action={act.value} wrongURL={fieldOf(w.error) === "url" ? w.error : undefined}
          onChange={(x) => {
            act.value = { ...act.peek(), ...x };
            w.clear();
          }}
        />
        <label class="check"><input type="checkbox" checked={d.pause} onChange={(e: Event) => change({ pause: checkedOf(e) })} /> {t("expression.pause")}</label>
        {w.error && !fields.includes(fieldOf(w.error)) ? <div class="failure" role="alert">{say(w.error)}</div> : null}
      </div>
      <TryRule path="/expression/backtest" body={{ ...condition(d), ...(id ? { id } : {}) }} draft={d} metric={metricOf(d.expression)} />
      <div class="form-foot">
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>{t("cancel")}</button>
          <button type="submit" class="button primary" disabled={w.busy} aria-busy={w.busy}>{t(id ? "save" : "create")}</button>
        </div>
      </div>
    </form>
  );
}
