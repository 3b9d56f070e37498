// The templates: who inherits from whom, and a new one.
import { useSignal } from "@preact/signals";
import { count, t } from "../i18n";
import { useLoad } from "../load";
import { ask, param } from "../query";
import { go } from "../router";
import { Link } from "../frame";
import { copyName, matcher } from "../text";
import { Confirm, Dialog, DialogForm } from "../ui/dialog";
import { Field, valueOf } from "../ui/field";
import { CopyIcon, DeleteIcon, PauseIcon, PlusIcon } from "../ui/icons";
import { Filter, Head, None, Status, Tool } from "../ui/parts";
import { told } from "../ui/toast";
import { post, read, remove } from "../write";
import { Disable, DisabledNow, useDisabled } from "./disable";
import { bodyOf, draftOf, type Action, type Template, type TemplateDetail, type TemplateRow } from "./data";
import { copyUnions } from "./unions";

export const loadTemplates = (signal: AbortSignal): Promise<TemplateRow[]> =>
  read<{ templates: TemplateRow[] | null }>("/template", signal).then((a) => a.templates ?? []);

export function Templates() {
  const list = useLoad("templates", loadTemplates);
  const gone = useSignal<Template | null>(null);
  const copied = useSignal<Template | null>(null);
  const off = useSignal<Template | null>(null);
  const disabled = useDisabled();
  const all = list.data ?? [];
  const rule = param("rule"); // the counter that a rule is to be made for
  const made = rule ? `?edit=new&rule=${encodeURIComponent(rule)}` : "";
  const match = matcher(param("q"));
  const rows = all.filter((r) => match([r.template.tpl_name, r.parent_name, r.template.create_user])).sort((a, b) => a.template.tpl_name.localeCompare(b.template.tpl_name));
  return (
    <div class="page">
      <header class="page-head">
        <h1>{t("templates")} <span class="count">{list.data ? count(all.length) : ""}</span></h1>
        <Filter value={param("q")} placeholder={t("filter.names")} onText={(q) => ask({ q }, true)} />
        <div class="end">
          <button type="button" class="button primary" onClick={() => ask({ do: "new" })}><PlusIcon /> {t("template.new")}</button>
        </div>
      </header>
      <Status of={[list]} />
      {rule ? (
        <div class="note choose">
          {t("rule.where")} <span class="mono">{rule}</span> <button type="button" class="link" onClick={() => ask({ rule: "" })}>{t("cancel")}</button>
        </div>
      ) : null}
      {rows.length > 0 ? (
        <table class="grid">
          <Head columns={[[t("name")], [t("template.parent")], [t("creator"), "wide-only"]]} tools />
          <tbody>
            {rows.map(({ template: x, parent_name }) => (
              <tr key={x.id}>
                <td><Link href={"/templates/" + x.id + made}>{x.tpl_name}</Link></td>
                <td>{x.parent_id ? <Link href={"/templates/" + x.parent_id} class="sub">{parent_name || "#" + x.parent_id}</Link> : null}</td>
                <td class="wide-only sub">{x.create_user}</td>
                <td class="tools-col">
                  <Tool does={t("disable")} to={x.tpl_name} onClick={() => (off.value = x)}><PauseIcon /></Tool>
                  <Tool does={t("copy.of")} to={x.tpl_name} onClick={() => (copied.value = x)}><CopyIcon /></Tool>
                  <Tool does={t("delete")} to={x.tpl_name} onClick={() => (gone.value = x)}><DeleteIcon /></Tool>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : all.length > 0 ? <div class="blank">{t("nomatch")}</div> : <None of={list}><b>{t("template.none")}</b><span>{t("template.none.text")}</span></None>}
      <DisabledNow of={disabled} />
      {off.value ? <Disable targets={[{ type: 2, tpl_id: off.value.id }]} name={off.value.tpl_name} onDone={disabled.reload} onClose={() => (off.value = null)} /> : null}
      {param("do") === "new" ? <NewTemplate all={all} onClose={() => ask({ do: "" }, true)} /> : null}
      {copied.value ? <CopyTemplate of={copied.value} all={all} onClose={() => (copied.value = null)} /> : null}
      {gone.value ? <DeleteTemplate of={gone.value} onDone={list.reload} onClose={() => (gone.value = null)} /> : null}
    </div>
  );
}

export function ParentChoice({ value, all, not, onChange }: { value: number; all: readonly TemplateRow[]; not?: ReadonlySet<number>; onChange(id: number): void }) {
  return (
    <select class="field" value={String(value)} onChange={(e: Event) => onChange(Number(valueOf(e)))}>
      <option value="0">{t("template.noparent")}</option>
      {all.map((r) => r.template).filter((x) => !not?.has(x.id)).sort((a, b) => a.tpl_name.localeCompare(b.tpl_name)).map((x) => <option key={x.id} value={String(x.id)}>{x.tpl_name}</option>)}
    </select>
  );
}

function NewTemplate({ all, onClose }: { all: readonly TemplateRow[]; onClose(): void }) {
  const name = useSignal("");
  const parent = useSignal(0);
  const send = async () => {
    const made = await post<Template>("/template", { name: name.value.trim(), parent_id: parent.value, action_id: 0 });
    const rule = param("rule");
    go("/templates/" + made.id + (rule ? `?edit=new&rule=${encodeURIComponent(rule)}` : ""));
  };
  return (
    <Dialog title={t("template.new")} onClose={onClose}>
      <DialogForm action={t("create")} onSend={send} onClose={() => param("do") && onClose()} disabled={name.value.trim() === ""}>
        <Field label={t("name")}><input class="field" data-first value={name.value} onInput={(e: Event) => (name.value = valueOf(e))} spellcheck={false} /></Field>
        <Field label={t("template.parent")} hint={t("template.parent.hint")}><ParentChoice value={parent.value} all={all} onChange={(id) => (parent.value = id)} /></Field>
      </DialogForm>
    </Dialog>
  );
}

export function DeleteTemplate({ of, onDone, onClose }: { of: Template; onDone(): void; onClose(): void }) {
  return (
    <Confirm
      title={t("delete.what", { name: of.tpl_name })} text={t("template.delete.text")} action={t("delete")} onClose={onClose}
      onYes={async () => {
        await remove("/template/" + of.id);
        told(t("deleted", { name: of.tpl_name }));
        onDone();
      }}
    />
  );
}

/** Copies a template with its strategies and its action. A copy that comes to no end is taken away again. */
async function copyTemplate(of: Template, name: string): Promise<Template> {
  const from = await read<TemplateDetail>("/template/" + of.id);
  const made = await post<Template>("/template", { name, parent_id: from.template.parent_id, action_id: 0 });
  try {
    if (from.action && from.action.id) {
      const { id: _, ...action } = from.action as Action;
      await post("/template/action", { ...action, tpl_id: made.id });
    }
    const copies = new Map<number, number>(); // of each strategy
    for (const s of from.stratges ?? []) copies.set(s.id, (await post<{ id: number }>("/strategy", { ...bodyOf(draftOf(s)), tpl_id: made.id })).id);
    await copyUnions(of.id, copies);
  } catch (err) {
    await remove("/template/" + made.id).catch(() => {});
    throw err;
  }
  return made;
}

export function CopyTemplate({ of, all, onClose }: { of: Template; all: readonly TemplateRow[]; onClose(): void }) {
  const name = useSignal(copyName(of.tpl_name, all.map((r) => r.template.tpl_name)));
  return (
    <Dialog title={t("copy.what", { name: of.tpl_name })} onClose={onClose}>
      <DialogForm
        action={t("copy.of")} onClose={onClose} disabled={name.value.trim() === ""}
        onSend={async () => go("/templates/" + (await copyTemplate(of, name.value.trim())).id)}
      >
        <Field label={t("name")} hint={t("template.copy.hint")}><input class="field" data-first value={name.value} onInput={(e: Event) => (name.value = valueOf(e))} spellcheck={false} /></Field>
      </DialogForm>
    </Dialog>
  );
}
