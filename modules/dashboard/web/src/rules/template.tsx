// One template: what it watches, with what comes down to it, whom it tells, and where it is bound.
import { useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect } from "preact/hooks";
import { count, say, t } from "../i18n";
import { useLoad } from "../load";
import { ask, param } from "../query";
import { go, place } from "../router";
import { Link } from "../frame";
import { splitCounter } from "../explore/group";
import { Confirm, Dialog, DialogForm } from "../ui/dialog";
import { Field, valueOf } from "../ui/field";
import { CopyIcon, DeleteIcon, EditIcon, PauseIcon, PlusIcon } from "../ui/icons";
import { Head, None, Priority, Status, Tool } from "../ui/parts";
import { told } from "../ui/toast";
import { fieldOf, post, put, read, remove, useWrite } from "../write";
import { ActionFields, noAction } from "./action";
import {
  below, conditionOf, draftOf, emptyDraft, inOrder,
  type Action, type Group, type Inheritance, type Inherited, type Strategy, type Template, type TemplateDetail, type TemplateRow,
} from "./data";
import { Disable, DisabledNow, useDisabled, type Target } from "./disable";
import { EnvBindings, type EnvBinding } from "./env";
import { StrategyForm } from "./strategyform";
import { CopyTemplate, DeleteTemplate, loadTemplates, ParentChoice } from "./templates";
import { Joined, Unions, useUnions } from "./unions";

export function TemplatePage() {
  const id = Number(place.value.path.split("/")[2]);
  const one = useLoad("template " + id, (s) => read<TemplateDetail>("/template/" + id, s));
  const down = useLoad("inherited " + id, (s) => read<Inheritance>(`/template/${id}/inherited`, s));
  const bound = useLoad("bound " + id, (s) => read<{ hostgroups: Group[] | null; env_bindings?: EnvBinding[] }>(`/template/${id}/hostgroup`, s).then((a) => [
    ...(a.hostgroups ?? []).map((g) => ({ id: g.id, name: g.grp_name, env: "" })), ...(a.env_bindings ?? []).map((b) => ({ id: b.grp_id, name: b.grp_name, env: b.env })),
  ]));
  const disabled = useDisabled("&tpl_id=" + id);
  const off = useSignal<{ target: Target; name: string } | null>(null);
  const all = useLoad("templates", loadTemplates);
  const groups = useLoad("groups", (s) => read<Group[]>("/hostgroup", s));
  const x = one.data?.template;
  const what = param("do");
  const done = () => ask({ do: "" }, true);
  const chain = down.data?.chain ?? [];
  return (
    <div class="page">
      <header class="page-head">
        <div class="crumbs"><Link href="/templates" class="crumb">{t("templates")}</Link><h1>{x?.tpl_name ?? "#" + id}</h1></div>
        {x ? (
          <div class="end">
            <button type="button" class="button" onClick={() => (off.value = { target: { type: 2, tpl_id: id }, name: x.tpl_name })}><PauseIcon /> {t("disable")}</button>
            <button type="button" class="button" onClick={() => ask({ do: "edit" })}><EditIcon /> {t("template.edit")}</button>
            <button type="button" class="button" onClick={() => ask({ do: "copy" })}><CopyIcon /> {t("copy.of")}</button>
            <button type="button" class="button" onClick={() => ask({ do: "delete" })}><DeleteIcon /> {t("delete")}</button>
          </div>
        ) : null}
      </header>
      {chain.length > 1 ? (
        <div class="lineage">
          <span class="sub">{t("template.lineage")}</span>
          {chain.map((c, i) => (
            <Fragment key={c.id}>
              {i > 0 ? <span class="sub">›</span> : null}
              {c.id === id ? <b>{c.tpl_name}</b> : <Link href={"/templates/" + c.id}>{c.tpl_name}</Link>}
            </Fragment>
          ))}
        </div>
      ) : null}
      <Status of={[one, down]} />
      <DisabledNow of={disabled} />
      {x ? <Strategies id={id} down={down} onDisable={(s) => (off.value = { target: { type: 3, strategy_id: s.id }, name: s.metric })} /> : null}
      {off.value ? <Disable targets={[off.value.target]} name={off.value.name} onDone={disabled.reload} onClose={() => (off.value = null)} /> : null}
      {x ? (
        <div class="two">
          <ActionForm key={JSON.stringify(one.data?.action)} id={id} action={one.data?.action ?? null} onSaved={one.reload} />
          <section class="section">
            <div class="section-head"><h2>{t("template.bound")} <span class="count">{bound.data ? count(bound.data.length) : ""}</span></h2></div>
            <Status of={[bound, groups]} />
            <EnvBindings
              there={bound.data ?? []} all={(groups.data ?? []).map((g) => ({ id: g.id, name: g.grp_name }))}
              href="/hostgroups/" label={t("template.bind")} empty={bound.data ? t("template.unbound") : ""}
              pair={(g) => ({ tpl_id: id, grp_id: g })} onDone={() => [bound, disabled].forEach((l) => l.reload())}
            />
          </section>
        </div>
      ) : null}
      {x && what === "edit" ? <EditTemplate of={x} all={all.data ?? []} onDone={() => [one, down, all].forEach((l) => l.reload())} onClose={done} /> : null}
      {x && what === "copy" && all.data ? <CopyTemplate of={x} all={all.data} onClose={() => place.peek().path.endsWith("/" + id) && done()} /> : null}
      {x && what === "delete" ? <DeleteTemplate of={x} onDone={() => go("/templates")} onClose={() => place.peek().path !== "/templates" && done()} /> : null}
    </div>
  );
}

function EditTemplate({ of, all, onDone, onClose }: { of: Template; all: readonly TemplateRow[]; onDone(): void; onClose(): void }) {
  const name = useSignal(of.tpl_name);
  const parent = useSignal(of.parent_id);
  return (
    <Dialog title={t("template.edit")} onClose={onClose}>
      <DialogForm
        action={t("save")} onClose={onClose} disabled={name.value.trim() === ""}
        onSend={async () => {
          await put("/template", { tpl_id: of.id, name: name.value.trim(), parent_id: parent.value });
          told(t("saved"));
          onDone();
        }}
      >
        <Field label={t("name")}><input class="field" data-first value={name.value} onInput={(e: Event) => (name.value = valueOf(e))} spellcheck={false} /></Field>
        <Field label={t("template.parent")} hint={t("template.parent.hint")}>
          <ParentChoice value={parent.value} all={all} not={below(all.map((r) => r.template), of.id)} onChange={(id) => (parent.value = id)} />
        </Field>
      </DialogForm>
    </Dialog>
  );
}

function Strategies({ id, down, onDisable }: { id: number; down: ReturnType<typeof useLoad<Inheritance>>; onDisable(s: Strategy): void }) {
  const gone = useSignal<Inherited | null>(null);
  const rows = down.data ? inOrder(down.data.strategies ?? [], down.data.chain) : [];
  const unions = useUnions(id, rows);
  const edit = param("edit"); // "new", "over-ID" or an id
  const on = Number(param("on"));
  const base = /^over-\d+$/.test(edit) ? rows.find((r) => r.strategy.id === Number(edit.slice(5))) : undefined;
  const { metric, tags } = splitCounter(param("rule"));
  const close = () => ask({ edit: "", rule: "" }, true);
  const saved = () => {
    close();
    told(t("saved"));
    down.reload();
  };
  useEffect(() => {
    if (on && down.data) document.getElementById("strategy-" + on)?.scrollIntoView({ block: "nearest" });
  }, [on, down.data === undefined]);
  const form = (key: string, sid: number, first = emptyDraft) => <StrategyForm key={key} tpl={id} id={sid} first={first} onSaved={saved} onClose={close} />;
  const tpl = (r: Inherited) => (r.own ? null : <Link href={`/templates/${r.tpl_id}?on=${r.strategy.id}`} class="sub">{r.tpl_name}</Link>);
  return (
    <section class="section">
      <div class="section-head">
        <h2>{t("strategies")} <span class="count">{down.data ? count(rows.filter((r) => r.overridden_by === 0).length) : ""}</span></h2>
        <div class="end"><button type="button" class="button small" onClick={() => ask({ edit: "new" })}><PlusIcon /> {t("strategy.new")}</button></div>
      </div>
      {edit === "new" ? <div class="inset">{form("new", 0, { ...emptyDraft, metric, tags })}</div> : null}
      {rows.length > 0 ? (
        <table class="grid blocks">
          <Head
            columns={[[t("metric")], [t("condition")], [t("priority.short")], [t("max_step.short"), "wide-only"], [t("hours"), "wide-only"], [t("note"), "wide-only"], [t("from")]]}
            tools
          />
          <tbody>
            {rows.map((r) => {
              const s = r.strategy;
              const over = r.overridden_by !== 0;
              const editing = edit === String(s.id) && r.own;
              return (
                <Fragment key={s.id}>
                  <tr id={"strategy-" + s.id} class={(over ? "gone" : "") + (on === s.id || editing ? " on" : "")} title={over ? t("strategy.overridden") : ""}>
                    <td class="mono main"><span class="strike">{s.metric}</span> {s.tags ? <span class="sub strike">{s.tags}</span> : null}<Joined id={s.id} unions={unions.data} rows={rows} /></td>
                    <td class="mono"><span class="strike">{conditionOf(s)}</span></td>
                    <td>{over ? <span class="strike">p{s.priority}</span> : <Priority p={s.priority} />}</td>
                    <td class="wide-only">{s.max_step}</td>
                    <td class="wide-only sub">{s.run_begin || s.run_end ? `${s.run_begin || "00:00"}–${s.run_end || "24:00"}` : ""}</td>
                    <td class="wide-only clip note-cell" title={s.note}>{s.note}</td>
                    <td>{tpl(r)}{over ? <span class="sub"> {t("strategy.replaced")}</span> : null}</td>
                    <td class="tools-col">
                      {over ? null : <Tool does={t("disable")} to={s.metric} onClick={() => onDisable(s)}><PauseIcon /></Tool>}
                      {r.own ? (
                        <>
                          <Tool does={t("edit")} to={s.metric} onClick={() => ask({ edit: editing ? "" : String(s.id) })}><EditIcon /></Tool>
                          <Tool does={t("delete")} to={s.metric} onClick={() => (gone.value = r)}><DeleteIcon /></Tool>
                        </>
                      ) : over ? null : (
                        <button type="button" class="link" aria-label={`${t("strategy.override")}: ${s.metric}`} onClick={() => ask({ edit: "over-" + s.id })}>{t("strategy.override")}</button>
                      )}
                    </td>
                  </tr>
                  {editing ? <tr class="flat"><td colSpan={8} class="inset">{form("edit" + s.id, s.id, draftOf(s))}</td></tr> : null}
                  {base === r ? <tr class="flat"><td colSpan={8} class="inset">{form("over" + s.id, 0, draftOf(s))}</td></tr> : null}
                </Fragment>
              );
            })}
          </tbody>
        </table>
      ) : (
        <None of={down}><b>{t("strategy.none")}</b><span>{t("strategy.none.text")}</span></None>
      )}
      <Unions id={id} unions={unions} rows={rows} />
      {gone.value ? (
        <Confirm
          title={t("delete.what", { name: gone.value.strategy.metric })} text={conditionOf(gone.value.strategy)} action={t("delete")}
          onClose={() => (gone.value = null)}
          onYes={async () => {
            await remove("/strategy/" + (gone.value as Inherited).strategy.id);
            down.reload();
          }}
        />
      ) : null}
    </section>
  );
}

function ActionForm({ id, action, onSaved }: { id: number; action: Action | null; onSaved(): void }) {
  const first = action && action.id ? action : noAction;
  const draft = useSignal<Action>({ ...first, channels: first.channels ?? "" });
  const w = useWrite();
  const a = draft.value;
  const set = (change: Partial<Action>) => {
    draft.value = { ...draft.peek(), ...change };
    w.clear();
  };
  const dirty = JSON.stringify(a) !== JSON.stringify({ ...first, channels: first.channels ?? "" });
  const send = async (e: Event) => {
    e.preventDefault();
    const { id: aid, ...rest } = a;
    if (await w.run(() => (aid ? put("/template/action", { ...rest, id: aid, tpl_id: id }) : post("/template/action", { ...rest, tpl_id: id })))) {
      told(t("saved"));
      onSaved();
    }
  };
  return (
    <section class="section">
      <div class="section-head"><h2>{t("action")}</h2></div>
      <form class="stack inset" noValidate onSubmit={(e: Event) => void send(e)}>
        <ActionFields action={a} onChange={set} wrongURL={fieldOf(w.error) === "url" ? w.error : undefined} />
        {w.error && fieldOf(w.error) !== "url" ? <div class="failure" role="alert">{say(w.error)}</div> : null}
        <div class="actions"><button type="submit" class="button primary" disabled={!dirty || w.busy} aria-busy={w.busy}>{t("save")}</button></div>
      </form>
    </section>
  );
}
