// Teams, who is in them, and the people there are.
import { useSignal } from "@preact/signals";
import { count, say, t } from "../i18n";
import { useLoad } from "../load";
import { ask, hrefWith, param } from "../query";
import { user } from "../session";
import { Link } from "../frame";
import { matcher } from "../text";
import { Confirm, Dialog, DialogForm } from "../ui/dialog";
import { Field, Text, valueOf } from "../ui/field";
import { DeleteIcon, EditIcon, PlusIcon } from "../ui/icons";
import { Filter, Head, None, Pill, Status, Tool } from "../ui/parts";
import { told } from "../ui/toast";
import { post, put, read, remove, useWrite } from "../write";
import type { Person, TeamRow } from "./data";

export function Teams() {
  const people = useLoad("people", (s) => read<Person[]>("/user/users", s));
  const teams = useLoad("teams", (s) => read<TeamRow[]>("/team", s));
  const tab = param("s") === "users" ? "users" : "teams";
  return (
    <div class="page">
      <h1 class="hidden">{t("teams")}</h1>
      <nav class="tabs" aria-label={t("teams")}>
        <Link href={hrefWith({ s: "", q: "", do: "" })} aria-current={tab === "teams" ? "page" : undefined}>{t("teams")} {teams.data ? count(teams.data.length) : ""}</Link>
        <Link href={hrefWith({ s: "users", q: "", do: "" })} aria-current={tab === "users" ? "page" : undefined}>{t("users")} {people.data ? count(people.data.length) : ""}</Link>
      </nav>
      {tab === "teams" ? <TeamList teams={teams} people={people} /> : <UserList people={people} />}
    </div>
  );
}

type Loading<T> = ReturnType<typeof useLoad<T>>;

function TeamList({ teams, people }: { teams: Loading<TeamRow[]>; people: Loading<Person[]> }) {
  const gone = useSignal<TeamRow | null>(null);
  const all = teams.data ?? [];
  const match = matcher(param("q"));
  const rows = all.filter((r) => match([r.team.name, r.team.resume, ...(r.users ?? []).map((u) => u.name + " " + u.cnname)])).sort((a, b) => a.team.name.localeCompare(b.team.name));
  const what = param("do"); // "new" or an id
  const edited = all.find((r) => String(r.team.id) === what);
  const close = () => ask({ do: "" }, true);
  return (
    <>
      <div class="page-head">
        <Filter value={param("q")} placeholder={t("teams.filter")} onText={(q) => ask({ q }, true)} />
        <div class="end"><button type="button" class="button primary" onClick={() => ask({ do: "new" })}><PlusIcon /> {t("team.new")}</button></div>
      </div>
      <Status of={[teams, people]} />
      {rows.length > 0 ? (
        <table class="grid blocks">
          <Head columns={[[t("team")], [t("group.members")], [t("team.resume"), "wide-only"], [t("creator"), "wide-only"]]} tools />
          <tbody>
            {rows.map((r) => (
              <tr key={r.team.id}>
                <td><b>{r.team.name}</b></td>
                <td>
                  <span class="chips">{(r.users ?? []).map((u) => <span key={u.id} class="chip" title={u.cnname}>{u.name}</span>)}</span>
                  {(r.users ?? []).length === 0 ? <span class="warn-text">{t("team.empty")}</span> : null}
                </td>
                <td class="wide-only sub">{r.team.resume}</td>
                <td class="wide-only sub">{r.creator_name}</td>
                <td class="tools-col">
                  <Tool does={t("edit")} to={r.team.name} onClick={() => ask({ do: String(r.team.id) })}><EditIcon /></Tool>
                  <Tool does={t("delete")} to={r.team.name} onClick={() => (gone.value = r)}><DeleteIcon /></Tool>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : all.length > 0 ? <div class="blank">{t("nomatch")}</div> : <None of={teams}><b>{t("team.none")}</b><span>{t("team.none.text")}</span></None>}
      {what === "new" ? <TeamForm people={people.data ?? []} onDone={teams.reload} onClose={close} /> : null}
      {edited ? <TeamForm key={edited.team.id} of={edited} people={people.data ?? []} onDone={teams.reload} onClose={close} /> : null}
      {gone.value ? (
        <Confirm
          title={t("delete.what", { name: gone.value.team.name })} text={t("team.delete.text")} action={t("delete")} onClose={() => (gone.value = null)}
          onYes={async () => {
            await remove("/team/" + (gone.value as TeamRow).team.id);
            teams.reload();
          }}
        />
      ) : null}
    </>
  );
}

function TeamForm({ of, people, onDone, onClose }: { of?: TeamRow; people: readonly Person[]; onDone(): void; onClose(): void }) {
  const name = useSignal(of?.team.name ?? "");
  const resume = useSignal(of?.team.resume ?? "");
  const members = useSignal<ReadonlySet<number>>(new Set((of?.users ?? []).map((u) => u.id)));
  const q = useSignal("");
  const match = matcher(q.value);
  // Members stand first, so that they are seen in a list of thousands.
  const first = new Set((of?.users ?? []).map((u) => u.id));
  const rows = people.filter((p) => match([p.name, p.cnname, p.email])).sort((a, b) => Number(first.has(b.id)) - Number(first.has(a.id)) || a.name.localeCompare(b.name));
  const users = [...members.value];
  return (
    <Dialog title={of ? t("team.edit") : t("team.new")} onClose={onClose}>
      <DialogForm
        action={of ? t("save") : t("create")} onClose={onClose} disabled={name.value.trim() === "" || (of !== undefined && users.length === 0 && first.size > 0)}
        onSend={async () => {
          if (of) await put("/team", { team_id: of.team.id, name: name.value.trim(), resume: resume.value.trim(), users });
          else await post("/team", { team_name: name.value.trim(), resume: resume.value.trim(), users });
          told(t("saved"));
          onDone();
        }}
      >
        <Field label={t("name")}><input class="field" data-first name="name" value={name.value} onInput={(e: Event) => (name.value = valueOf(e))} spellcheck={false} /></Field>
        <Field label={t("team.resume")}><input class="field" name="resume" value={resume.value} onInput={(e: Event) => (resume.value = valueOf(e))} /></Field>
        <div class="labelled">
          <span class="label">{t("group.members")} {count(users.length)}</span>
          <Filter value={q.value} placeholder={t("users.filter")} onText={(s) => (q.value = s)} />
          <div class="choices" role="group" aria-label={t("group.members")} tabIndex={0}>
            {rows.slice(0, 200).map((p) => (
              <label class="check" key={p.id}>
                <input
                  type="checkbox" checked={members.value.has(p.id)}
                  onChange={() => {
                    const m = new Set(members.peek());
                    if (!m.delete(p.id)) m.add(p.id);
                    members.value = m;
                  }}
                />
                <span>{p.name} <span class="sub">{p.cnname}</span></span>
              </label>
            ))}
            {rows.length === 0 ? <span class="sub">{t("nomatch")}</span> : null}
            {rows.length > 200 ? <span class="sub">… {count(rows.length - 200)}</span> : null}
          </div>
          {of && users.length === 0 && first.size > 0 ? <span class="said">{t("team.keepone")}</span> : null}
        </div>
      </DialogForm>
    </Dialog>
  );
}

const roles = (role: number): string => (role < 0 ? t("role.blocked") : role >= 2 ? t("role.root") : role === 1 ? t("role.admin") : "");

function UserList({ people }: { people: Loading<Person[]> }) {
  const w = useWrite();
  const all = people.data ?? [];
  const match = matcher(param("q"));
  const rows = all.filter((p) => match([p.name, p.cnname, p.email, p.phone, p.im])).sort((a, b) => a.name.localeCompare(b.name));
  const gone = useSignal<Person | null>(null);
  const me = user.value?.id;
  const admin = user.value?.admin ?? false;
  // Administrators look after the others, and everybody after himself; nobody changes root but root.
  const may = (p: Person) => p.id === me || (admin && p.role < 2);
  const edited = all.find((p) => String(p.id) === param("do"));
  const close = () => ask({ do: "" }, true);
  const role = (p: Person, admin: boolean) => void w.run(() => put("/admin/change_user_role", { user_id: p.id, admin: admin ? "yes" : "no" })).then((ok) => ok && people.reload());
  return (
    <>
      <div class="page-head">
        <Filter value={param("q")} placeholder={t("users.filter")} onText={(q) => ask({ q }, true)} />
        {admin ? <div class="end"><button type="button" class="button primary" onClick={() => ask({ do: "new" })}><PlusIcon /> {t("user.new")}</button></div> : null}
      </div>
      <Status of={[people]} />
      {w.error ? <div class="failure" role="alert">{say(w.error)}</div> : null}
      {rows.length > 0 ? (
        <table class="grid blocks">
          <Head columns={[[t("user.name")], [t("user.cnname")], [t("user.email")], [t("user.phone"), "wide-only"], ["IM", "wide-only"], [t("user.role")]]} tools />
          <tbody>
            {rows.map((p) => (
              <tr key={p.id}>
                <td><b>{p.name}</b></td>
                <td>{p.cnname}</td>
                <td class="sub">{p.email || <span class="warn-text">{t("user.nomail")}</span>}</td>
                <td class="wide-only sub">{p.phone}</td>
                <td class="wide-only sub">{p.im}</td>
                <td>
                  {roles(p.role) ? <Pill tone={p.role < 0 ? "bad" : "info"}>{roles(p.role)}</Pill> : null}{" "}
                  {admin && (p.role === 0 || p.role === 1) && p.id !== me ? (
                    <button type="button" class="link" disabled={w.busy} onClick={() => role(p, p.role === 0)}>{p.role === 0 ? t("role.make") : t("role.unmake")}</button>
                  ) : null}
                </td>
                <td class="tools-col">
                  {may(p) ? <Tool does={t("edit")} to={p.name} onClick={() => ask({ do: String(p.id) })}><EditIcon /></Tool> : null}
                  {admin && p.id !== me && p.role < 2 ? <Tool does={t("delete")} to={p.name} onClick={() => (gone.value = p)}><DeleteIcon /></Tool> : null}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : all.length > 0 ? <div class="blank">{t("nomatch")}</div> : <None of={people}>{t("nomatch")}</None>}
      {admin && param("do") === "new" ? <UserForm onDone={people.reload} onClose={close} /> : null}
      {edited && may(edited) ? <ProfileForm key={edited.id} of={edited} onDone={people.reload} onClose={close} /> : null}
      {gone.value ? (
        <Confirm
          title={t("delete.what", { name: gone.value.name })} text={t("user.delete.text")} action={t("delete")} onClose={() => (gone.value = null)}
          onYes={async () => {
            await remove("/admin/delete_user", { user_id: (gone.value as Person).id });
            people.reload();
          }}
        />
      ) : null}
    </>
  );
}

const userFields = [["name", true], ["cnname", true], ["password", true], ["email", true], ["phone", false], ["im", false]] as const;

function UserForm({ onDone, onClose }: { onDone(): void; onClose(): void }) {
  const draft = useSignal<Record<string, string>>({});
  const get = (k: string) => draft.value[k] ?? "";
  return (
    <Dialog title={t("user.new")} onClose={onClose}>
      <DialogForm
        action={t("create")} onClose={onClose} disabled={userFields.some(([k, need]) => need && get(k).trim() === "")}
        onSend={async () => {
          const body = Object.fromEntries(userFields.map(([k]) => [k, k === "password" ? get(k) : get(k).trim()]));
          await post("/user/create", body);
          told(t("saved"));
          onDone();
        }}
      >
        <div class="fields">
          {userFields.map(([k, need]) => (
            <Field key={k} label={t(`user.${k}`) + (need ? "" : " " + t("optional"))} class="w6">
              <Text class="field" name={k} first={k === "name"} secret={k === "password"} value={get(k)} onText={(v) => (draft.value = { ...draft.peek(), [k]: v })} />
            </Field>
          ))}
        </div>
      </DialogForm>
    </Dialog>
  );
}

/** What is known of a person, and a new password: by himself with the old one, by an administrator without. */
function ProfileForm({ of, onDone, onClose }: { of: Person; onDone(): void; onClose(): void }) {
  const draft = useSignal<Record<string, string>>({ cnname: of.cnname, email: of.email, phone: of.phone, im: of.im });
  const get = (k: string) => draft.value[k] ?? "";
  const mine = of.id === user.value?.id;
  const input = (k: string, label: string, secret = false) => (
    <Field key={k} label={label} class="w6">
      <Text class="field" name={k} first={k === "cnname"} secret={secret} value={get(k)} onText={(v) => (draft.value = { ...draft.peek(), [k]: v })} />
    </Field>
  );
  return (
    <Dialog title={of.name} onClose={onClose}>
      <DialogForm
        action={t("save")} onClose={onClose} disabled={get("cnname").trim() === "" || get("email").trim() === "" || (mine && get("new") !== "" && get("old") === "")}
        onSend={async () => {
          const profile = { cnname: get("cnname").trim(), email: get("email").trim(), phone: get("phone").trim(), im: get("im").trim(), qq: of.qq };
          if (mine) await put("/user/update", profile);
          else await put("/admin/change_user_profile", { user_id: of.id, ...profile });
          if (get("new") !== "") {
            if (mine) await put("/user/cgpasswd", { old_password: get("old"), new_password: get("new") });
            else await put("/admin/change_user_passwd", { user_id: of.id, password: get("new") });
          }
          told(t("saved"));
          onDone();
        }}
      >
        <div class="fields">
          {input("cnname", t("user.cnname"))}
          {input("email", t("user.email"))}
          {input("phone", t("user.phone") + " " + t("optional"))}
          {input("im", t("user.im") + " " + t("optional"))}
          {mine ? input("old", t("user.old"), true) : null}
          {input("new", t("user.new.password"), true)}
        </div>
      </DialogForm>
    </Dialog>
  );
}
