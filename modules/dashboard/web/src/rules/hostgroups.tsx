// The host groups.
import { useSignal } from "@preact/signals";
import { count, t } from "../i18n";
import { useLoad } from "../load";
import { ask, param } from "../query";
import { go, place } from "../router";
import { Link } from "../frame";
import { matcher } from "../text";
import { Confirm, Dialog, DialogForm } from "../ui/dialog";
import { Field, valueOf } from "../ui/field";
import { DeleteIcon, PlusIcon } from "../ui/icons";
import { Filter, Head, None, Status, Tool } from "../ui/parts";
import { told } from "../ui/toast";
import { post, read, remove } from "../write";
import type { Group } from "./data";

export function HostGroups() {
  const list = useLoad("groups", (s) => read<Group[]>("/hostgroup", s));
  const gone = useSignal<Group | null>(null);
  const all = list.data ?? [];
  const match = matcher(param("q"));
  const rows = all.filter((g) => match([g.grp_name, g.create_user])).sort((a, b) => a.grp_name.localeCompare(b.grp_name));
  return (
    <div class="page">
      <header class="page-head">
        <h1>{t("hostgroups")} <span class="count">{list.data ? count(all.length) : ""}</span></h1>
        <Filter value={param("q")} placeholder={t("filter.names")} onText={(q) => ask({ q }, true)} />
        <div class="end"><button type="button" class="button primary" onClick={() => ask({ do: "new" })}><PlusIcon /> {t("group.new")}</button></div>
      </header>
      <Status of={[list]} />
      {rows.length > 0 ? (
        <table class="grid">
          <Head columns={[[t("name")], [t("creator")]]} tools />
          <tbody>
            {rows.map((g) => (
              <tr key={g.id}>
                <td><Link href={"/hostgroups/" + g.id}>{g.grp_name}</Link></td>
                <td class="sub">{g.create_user}</td>
                <td class="tools-col"><Tool does={t("delete")} to={g.grp_name} onClick={() => (gone.value = g)}><DeleteIcon /></Tool></td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : all.length > 0 ? <div class="blank">{t("nomatch")}</div> : <None of={list}><b>{t("group.none")}</b><span>{t("group.none.text")}</span></None>}
      {param("do") === "new" ? <NewGroup onClose={() => place.peek().path === "/hostgroups" && ask({ do: "" }, true)} /> : null}
      {gone.value ? <DeleteGroup of={gone.value} onDone={list.reload} onClose={() => (gone.value = null)} /> : null}
    </div>
  );
}

function NewGroup({ onClose }: { onClose(): void }) {
  const name = useSignal("");
  return (
    <Dialog title={t("group.new")} onClose={onClose}>
      <DialogForm
        action={t("create")} onClose={onClose} disabled={name.value.trim() === ""}
        onSend={async () => go("/hostgroups/" + (await post<Group>("/hostgroup", { name: name.value.trim() })).id)}
      >
        <Field label={t("name")}><input class="field" data-first value={name.value} onInput={(e: Event) => (name.value = valueOf(e))} spellcheck={false} /></Field>
      </DialogForm>
    </Dialog>
  );
}

export function DeleteGroup({ of, onDone, onClose }: { of: Group; onDone(): void; onClose(): void }) {
  return (
    <Confirm
      title={t("delete.what", { name: of.grp_name })} text={t("group.delete.text")} action={t("delete")} onClose={onClose}
      onYes={async () => {
        await remove("/hostgroup/" + of.id);
        told(t("deleted", { name: of.grp_name }));
        onDone();
      }}
    />
  );
}
