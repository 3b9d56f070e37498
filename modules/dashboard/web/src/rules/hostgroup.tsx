// One host group: who is in it, what watches it, and changes of many members at once.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call, isAbort } from "../api";
import { count, say, t } from "../i18n";
import { useLoad } from "../load";
import { ask, param } from "../query";
import { go, place } from "../router";
import { Link } from "../frame";
import { matcher, names } from "../text";
import { Dialog, DialogForm } from "../ui/dialog";
import { Field, valueOf } from "../ui/field";
import { DeleteIcon, EditIcon } from "../ui/icons";
import { Filter, More, None, Status } from "../ui/parts";
import { Segment } from "../ui/segment";
import { told } from "../ui/toast";
import { post, put, read, remove, useWrite } from "../write";
import { Bindings } from "./bindings";
import type { Group, Host, Template } from "./data";
import { DisabledNow, useDisabled } from "./disable";
import { EnvBindings, type EnvBinding } from "./env";
import { DeleteGroup } from "./hostgroups";
import { loadTemplates } from "./templates";

const typing = 400; // ms of silence after which a change is tried
const most = 300; // members that are drawn at first

type Member = Pick<Host, "id" | "hostname" | "ip" | "maintain_end">;
type Mode = "add" | "remove" | "replace";

export function HostGroupPage() {
  const id = Number(place.value.path.split("/")[2]);
  const one = useLoad("group " + id, (s) => read<{ hostgroup: Group; hosts: Member[] | null }>("/hostgroup/" + id, s));
  const bound = useLoad("templates of " + id, (s) => read<{ templates: Template[] | null; env_bindings?: EnvBinding[] }>(`/hostgroup/${id}/template`, s).then((a) => [
    ...(a.templates ?? []).map((x) => ({ id: x.id, name: x.tpl_name, env: "" })), ...(a.env_bindings ?? []).map((b) => ({ id: b.tpl_id, name: b.tpl_name, env: b.env })),
  ]));
  const disabled = useDisabled("&grp_id=" + id);
  const all = useLoad("templates", loadTemplates);
  const plugins = useLoad("plugins of " + id, (s) => read<{ id: number; dir: string }[] | null>(`/hostgroup/${id}/plugins`, s).then((a) => a ?? []));
  const g = one.data?.hostgroup;
  const members = one.data?.hosts ?? [];
  const match = matcher(param("q"));
  const rows = members.filter((h) => match([h.hostname, h.ip])).sort((a, b) => a.hostname.localeCompare(b.hostname));
  const n = Number(param("n")) || most;
  const done = () => ask({ do: "" }, true);
  return (
    <div class="page">
      <header class="page-head">
        <div class="crumbs"><Link href="/hostgroups" class="crumb">{t("hostgroups")}</Link><h1>{g?.grp_name ?? "#" + id}</h1></div>
        {g ? (
          <div class="end">
            <button type="button" class="button" onClick={() => ask({ do: "edit" })}><EditIcon /> {t("rename")}</button>
            <button type="button" class="button" onClick={() => ask({ do: "delete" })}><DeleteIcon /> {t("delete")}</button>
          </div>
        ) : null}
      </header>
      <Status of={[one]} />
      <DisabledNow of={disabled} />
      {g ? (
        <div class="two">
          <section class="section">
            <div class="section-head">
              <h2>{t("group.members")} <span class="count">{count(members.length)}</span></h2>
              <div class="end"><Filter value={param("q")} placeholder={t("hosts.filter")} onText={(q) => ask({ q }, true)} /></div>
            </div>
            {rows.length > 0 ? (
              <table class="grid">
                <tbody>
                  {rows.slice(0, n).map((h) => (
                    <tr key={h.id}>
                      <td class="mono"><Link href={"/hosts/" + h.id}>{h.hostname}</Link></td>
                      <td class="mono sub tight wide-only">{h.ip}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            ) : members.length > 0 ? <div class="blank">{t("nomatch")}</div> : <None of={one}><b>{t("group.empty")}</b><span>{t("group.empty.text")}</span></None>}
            <More shown={n} all={rows.length} onMore={() => ask({ n: String(n + most) }, true)} />
          </section>
          <div>
            <Members id={id} onDone={one.reload} />
            <section class="section">
              <div class="section-head"><h2>{t("templates")} <span class="count">{bound.data ? count(bound.data.length) : ""}</span></h2></div>
              <Status of={[bound, all]} />
              <EnvBindings
                there={bound.data ?? []} all={(all.data ?? []).map(({ template: x }) => ({ id: x.id, name: x.tpl_name }))}
                href="/templates/" label={t("group.bind")} empty={bound.data ? t("group.unbound") : ""}
                pair={(x) => ({ tpl_id: x, grp_id: id })} onDone={() => [bound, disabled].forEach((l) => l.reload())}
              />
            </section>
            <section class="section">
              <div class="section-head"><h2>{t("plugins")} <span class="count">{plugins.data ? count(plugins.data.length) : ""}</span></h2></div>
              <Status of={[plugins]} />
              <Bindings
                there={(plugins.data ?? []).map((x) => ({ id: x.id, name: x.dir }))} all={[]} label="" empty={plugins.data ? t("plugins.none") : ""} quiet
                onAdd={() => Promise.resolve()} onRemove={(x) => remove("/plugin/" + x).then(plugins.reload)}
              />
              <NewPlugin id={id} onDone={plugins.reload} />
            </section>
          </div>
        </div>
      ) : null}
      {g && param("do") === "edit" ? <RenameGroup of={g} onDone={one.reload} onClose={done} /> : null}
      {g && param("do") === "delete" ? <DeleteGroup of={g} onDone={() => go("/hostgroups")} onClose={() => place.peek().path !== "/hostgroups" && done()} /> : null}
    </div>
  );
}

function RenameGroup({ of, onDone, onClose }: { of: Group; onDone(): void; onClose(): void }) {
  const name = useSignal(of.grp_name);
  return (
    <Dialog title={t("rename")} onClose={onClose}>
      <DialogForm
        action={t("save")} onClose={onClose} disabled={name.value.trim() === ""}
        onSend={async () => {
          await put("/hostgroup", { id: of.id, grp_name: name.value.trim() });
          onDone();
        }}
      >
        <Field label={t("name")}><input class="field" data-first value={name.value} onInput={(e: Event) => (name.value = valueOf(e))} spellcheck={false} /></Field>
      </DialogForm>
    </Dialog>
  );
}

function NewPlugin({ id, onDone }: { id: number; onDone(): void }) {
  const dir = useSignal("");
  const w = useWrite();
  return (
    <form
      class="inline"
      onSubmit={(e: Event) => {
        e.preventDefault();
        if (dir.value.trim() === "") return;
        void w.run(() => post("/plugin", { hostgroup_id: id, dir_path: dir.value.trim() })).then((ok) => {
          if (!ok) return;
          dir.value = "";
          onDone();
        });
      }}
    >
      <input class="field mono" value={dir.value} placeholder="sys/ntp" aria-label={t("plugins.dir")} onInput={(e: Event) => (dir.value = valueOf(e))} spellcheck={false} />
      <button type="submit" class="button" disabled={w.busy || dir.value.trim() === ""}>{t("plugins.add")}</button>
      {w.error ? <div class="failure" role="alert">{say(w.error)}</div> : null}
    </form>
  );
}

interface Change {
  added: string[] | null;
  removed: string[] | null;
  /** Those among added that nobody knew before. */
  created: string[] | null;
  unchanged: number;
  members: number;
}

/** Names pasted in, and what would become of the group before it does. */
function Members({ id, onDone }: { id: number; onDone(): void }) {
  const text = useSignal("");
  const change = useSignal<{ of: string; is: Change } | null>(null);
  const failed = useSignal<unknown>(null);
  const w = useWrite();
  const mode: Mode = param("mode") === "remove" || param("mode") === "replace" ? (param("mode") as Mode) : "add";
  const hosts = names(text.value);
  const key = mode + "\n" + hosts.join("\n");
  // An empty list in place of all members is what nobody means.
  useEffect(() => {
    failed.value = null;
    w.clear();
    if (hosts.length === 0) {
      change.value = null;
      return;
    }
    const ctl = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const a = await call<Change>(`/hostgroup/${id}/hosts`, { method: "PUT", body: { mode, hosts, dry_run: true }, signal: ctl.signal });
        change.value = { of: key, is: a.data };
      } catch (err) {
        if (!isAbort(err)) failed.value = err;
      }
    }, typing);
    return () => {
      clearTimeout(timer);
      ctl.abort();
    };
  }, [key]);
  const c = change.value?.is;
  const n = (mode === "add" ? c?.added?.length : mode === "remove" ? c?.removed?.length : c?.members) ?? 0;
  const ready = c !== undefined && change.value?.of === key;
  const nothing = c !== undefined && (c.added ?? []).length === 0 && (c.removed ?? []).length === 0;
  const send = async (e: Event) => {
    e.preventDefault();
    if (!ready || nothing) return;
    if (await w.run(() => put(`/hostgroup/${id}/hosts`, { mode, hosts, dry_run: false }))) {
      text.value = "";
      told(t("saved"));
      onDone();
    }
  };
  return (
    <section class="section">
      <div class="section-head">
        <h2>{t("group.change")}</h2>
        <div class="end">
          <Segment<Mode>
            label={t("group.change")} value={mode} options={[["add", t("mode.add")], ["remove", t("mode.remove")], ["replace", t("mode.replace")]]}
            onChange={(m) => ask({ mode: m === "add" ? "" : m }, true)}
          />
        </div>
      </div>
      <form class="stack inset" onSubmit={(e: Event) => void send(e)}>
        <textarea
          class="field" rows={6} value={text.value} placeholder={t("group.paste")} aria-label={t("group.paste")} spellcheck={false} autocapitalize="none"
          onInput={(e: Event) => (text.value = valueOf(e))}
        />
        {failed.value ? <div class="failure" role="alert">{say(failed.value)}</div> : null}
        {c && hosts.length > 0 ? (
          <div class="preview" role="status">
            <div class="sub">{t("preview", { members: count(c.members), unchanged: count(c.unchanged) })}</div>
            <Names sign="+" tone="ok" title={t("preview.added")} of={c.added ?? []} created={new Set(c.created ?? [])} />
            <Names sign="−" tone="bad" title={t("preview.removed")} of={c.removed ?? []} />
            {nothing ? <div class="sub">{t("preview.nothing")}</div> : null}
          </div>
        ) : null}
        {w.error ? <div class="failure" role="alert">{say(w.error)}</div> : null}
        <div class="actions">
          <button type="submit" class={"button " + (mode === "add" ? "primary" : "danger")} disabled={!ready || nothing || hosts.length === 0 || w.busy} aria-busy={w.busy}>
            {hosts.length === 0 ? t("group.change") : t(`mode.${mode}.n`, { n: count(n) })}
          </button>
        </div>
      </form>
    </section>
  );
}

function Names({ sign, tone, title, of, created }: { sign: string; tone: "ok" | "bad"; title: string; of: readonly string[]; created?: ReadonlySet<string> }) {
  if (of.length === 0) return null;
  return (
    <div>
      <b class={tone + "-text"}>{sign}{count(of.length)}</b> <span class="sub">{title}</span>
      <ul class="names">
        {of.slice(0, 200).map((h) => (
          <li key={h} class="mono">{h}{created?.has(h) ? <span class="warn-text"> {t("preview.created")}</span> : null}</li>
        ))}
        {of.length > 200 ? <li class="sub">… {count(of.length - 200)}</li> : null}
      </ul>
    </div>
  );
}
