// The channels: by which ways people are told, and whether each one works.
import { useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { count, say, t, type Key } from "../i18n";
import { useLoad } from "../load";
import { ask, param } from "../query";
import { user } from "../session";
import { Confirm, Dialog } from "../ui/dialog";
import { checkedOf, Field, Text, valueOf } from "../ui/field";
import { ChannelIcon, DeleteIcon, EditIcon, PlusIcon } from "../ui/icons";
import { Head, None, Pill, Status, Tool } from "../ui/parts";
import { told } from "../ui/toast";
import { fieldOf, post, put, read, remove, useWrite } from "../write";
import { channelTypes, cleaned, headerLines, leadsTo, parseHeaders, type Config, type ConfigField } from "./channelconfig";
import type { Channel, Person } from "./data";

interface Tested {
  ok: boolean;
  answer: string;
  error: string;
}

const typeText = (type: string): string => (type in channelTypes ? t(`channel.${type}` as Key) : type);

export function Channels() {
  const list = useLoad("channels", (s) => read<Channel[]>("/alarm/channels", s));
  const people = useLoad("people", (s) => read<Person[]>("/user/users", s));
  const gone = useSignal<Channel | null>(null);
  const w = useWrite();
  const rows = [...(list.data ?? [])].sort((a, b) => a.name.localeCompare(b.name));
  const what = param("do"); // "new" or an id
  const testing = Number(param("test"));
  const edited = rows.find((c) => String(c.id) === what);
  const admin = user.value?.admin ?? false;
  const close = () => ask({ do: "" }, true);
  const toggle = (c: Channel) => void w.run(() => put("/alarm/channels/" + c.id, { name: c.name, type: c.type, config: c.config, enabled: !c.enabled })).then((ok) => ok && list.reload());
  return (
    <div class="page">
      <header class="page-head">
        <h1>{t("channels")} <span class="count">{list.data ? count(rows.length) : ""}</span></h1>
        {admin ? <div class="end"><button type="button" class="button primary" onClick={() => ask({ do: "new" })}><PlusIcon /> {t("channel.new")}</button></div> : null}
      </header>
      <Status of={[list]} />
      {admin ? null : <div class="note">{t("channel.readonly")}</div>}
      {w.error ? <div class="failure" role="alert">{say(w.error)}</div> : null}
      {rows.length > 0 ? (
        <table class="grid blocks">
          <Head columns={[[t("channel.enabled"), "tight"], [t("name")], [t("channel.type")], [t("channel.to")], [t("creator"), "wide-only"]]} tools />
          <tbody>
            {rows.map((c) => (
              <Fragment key={c.id}>
                <tr class={(c.enabled ? "" : "gone") + (testing === c.id ? " on" : "")}>
                  <td class="tight">
                    <label class="check"><input type="checkbox" checked={c.enabled} disabled={w.busy || !admin} onChange={() => toggle(c)} aria-label={`${t("channel.enabled")}: ${c.name}`} /></label>
                  </td>
                  <td><b>{c.name}</b></td>
                  <td><Pill tone="none">{typeText(c.type)}</Pill></td>
                  <td class="mono sub">{leadsTo(c.type, c.config ?? {})}</td>
                  <td class="wide-only sub">{c.creator}</td>
                  <td class="tools-col">
                    {admin ? (
                      <>
                        <Tool does={t("channel.test")} to={c.name} pressed={testing === c.id} onClick={() => ask({ test: testing === c.id ? "" : String(c.id) }, true)}><ChannelIcon /></Tool>
                        <Tool does={t("edit")} to={c.name} onClick={() => ask({ do: String(c.id) })}><EditIcon /></Tool>
                        <Tool does={t("delete")} to={c.name} onClick={() => (gone.value = c)}><DeleteIcon /></Tool>
                      </>
                    ) : null}
                  </td>
                </tr>
                {admin && testing === c.id ? (
                  <tr class="flat"><td colSpan={6} class="inset"><TestSend people={people.data ?? []} send={(receiver) => post<Tested>(`/alarm/channels/${c.id}/test`, { receiver })} /></td></tr>
                ) : null}
              </Fragment>
            ))}
          </tbody>
        </table>
      ) : <None of={list}><b>{t("channel.none")}</b><span>{t("channel.none.text")}</span></None>}
      {admin && what === "new" ? <ChannelForm people={people.data ?? []} onDone={list.reload} onClose={close} /> : null}
      {admin && edited ? <ChannelForm key={edited.id} of={edited} people={people.data ?? []} onDone={list.reload} onClose={close} /> : null}
      {gone.value ? (
        <Confirm
          title={t("delete.what", { name: gone.value.name })} text={t("channel.delete.text")} action={t("delete")} onClose={() => (gone.value = null)}
          onYes={async () => {
            await remove("/alarm/channels/" + (gone.value as Channel).id);
            list.reload();
          }}
        />
      ) : null}
    </div>
  );
}

/** Sends a message to one person and shows what the provider said. */
function TestSend({ people, send }: { people: readonly Person[]; send(receiver: string): Promise<Tested> }) {
  const receiver = useSignal(user.value?.name ?? "");
  const said = useSignal<Tested | null>(null);
  const w = useWrite();
  const go = () => {
    said.value = null;
    void w.run(async () => (said.value = await send(receiver.value.trim())));
  };
  return (
    <div class="stack">
      <div class="inline">
        <input
          class="field" list="people" value={receiver.value} aria-label={t("channel.receiver")} placeholder={t("channel.receiver")} onInput={(e: Event) => (receiver.value = valueOf(e))} spellcheck={false}
          onKeyDown={(e: KeyboardEvent) => {
            if (e.key !== "Enter") return;
            e.preventDefault();
            go();
          }}
        />
        <datalist id="people">{people.map((p) => <option key={p.id} value={p.name}>{p.cnname}</option>)}</datalist>
        <button type="button" class="button" disabled={w.busy} aria-busy={w.busy} onClick={go}><ChannelIcon /> {t("channel.test")}</button>
      </div>
      {w.error ? <div class="failure" role="alert">{say(w.error)}</div> : null}
      {w.busy ? <div class="sub" role="status">{t("channel.testing")}</div> : null}
      {said.value ? (
        <div class="answer-box" role="status">
          <b class={said.value.ok ? "ok-text" : "bad-text"}>{said.value.ok ? t("notice.sent") : t("notice.failed")}</b>
          {said.value.error ? <span>{said.value.error}</span> : null}
          {said.value.answer ? <pre class="mono">{said.value.answer}</pre> : null}
        </div>
      ) : null}
    </div>
  );
}

function ChannelForm({ of, people, onDone, onClose }: { of?: Channel; people: readonly Person[]; onDone(): void; onClose(): void }) {
  const name = useSignal(of?.name ?? "");
  const type = useSignal(of?.type ?? "mail");
  const config = useSignal<Config>(of?.config ?? {});
  const headers = useSignal(headerLines(of?.config?.["headers"]));
  const enabled = useSignal(of?.enabled ?? true);
  const w = useWrite();
  const fields = channelTypes[type.value] ?? [];
  const parsed = parseHeaders(headers.value);
  const full = (): Channel["config"] => cleaned(type.value, { ...config.value, headers: parsed ?? {} });
  const lacks = name.value.trim() === "" || parsed === null || fields.some((f) => f.required && String(config.value[f.key] ?? "").trim() === "");
  const same = of !== undefined && type.value === of.type && JSON.stringify(full()) === JSON.stringify(cleaned(of.type, of.config ?? {}));
  const set = (key: string, v: unknown) => {
    config.value = { ...config.peek(), [key]: v };
    w.clear();
  };
  // What is not stored yet is sent whole; the id lends it the secrets that are.
  const tryOut = (receiver: string) =>
    same
      ? post<Tested>(`/alarm/channels/${of.id}/test`, { receiver })
      : post<Tested>("/alarm/channels/test", { ...(of ? { id: of.id } : {}), name: name.value.trim(), type: type.value, config: full(), receiver });
  const send = async (e: Event) => {
    e.preventDefault();
    if (lacks) return;
    const body = { name: name.value.trim(), type: type.value, config: full(), enabled: enabled.value };
    if (!(await w.run(() => (of ? put("/alarm/channels/" + of.id, body) : post("/alarm/channels", body))))) return;
    told(t("saved"));
    onDone();
    onClose();
  };
  const wrong = (key: string) => ([key, "config." + key].includes(fieldOf(w.error)) ? say(w.error) : undefined);
  const known = ["name", "type", ...fields.flatMap((f) => [f.key, "config." + f.key])];
  return (
    <Dialog title={of ? t("channel.edit") : t("channel.new")} onClose={onClose} wide>
      <form class="stack" noValidate onSubmit={(e: Event) => void send(e)}>
        <div class="fields">
          <Field label={t("name")} class="w6" error={wrong("name")}><input class="field" name="name" data-first value={name.value} onInput={(e: Event) => (name.value = valueOf(e))} spellcheck={false} /></Field>
          <Field label={t("channel.type")} class="w6" error={wrong("type")}>
            <select class="field" name="type" value={type.value} onChange={(e: Event) => (type.value = valueOf(e))}>
              {Object.keys(channelTypes).map((x) => <option key={x} value={x}>{typeText(x)}</option>)}
            </select>
          </Field>
          <p class="sub">{type.value in channelTypes ? t(`channel.${type.value}.text` as Key) : ""}</p>
          {fields.map((f) => (
            <ConfigInput
              key={type.value + f.key} f={f} value={config.value[f.key]} headers={headers.value} bad={wrong(f.key)}
              onChange={(v) => set(f.key, v)} onHeaders={(v) => (headers.value = v)}
            />
          ))}
          <label class="check"><input type="checkbox" checked={enabled.value} onChange={(e: Event) => (enabled.value = checkedOf(e))} /> {t("channel.enabled")}</label>
        </div>
        {w.error && !known.includes(fieldOf(w.error)) ? <div class="failure" role="alert">{say(w.error)}</div> : null}
        <div class="test-line">
          <TestSend people={people} send={tryOut} />
        </div>
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>{t("cancel")}</button>
          <button type="submit" class="button primary" disabled={lacks || w.busy} aria-busy={w.busy}>{of ? t("save") : t("create")}</button>
        </div>
      </form>
    </Dialog>
  );
}

interface InputProps {
  f: ConfigField;
  value: unknown;
  headers: string;
  bad: string | undefined;
  onChange(v: unknown): void;
  onHeaders(v: string): void;
}

function ConfigInput({ f, value, headers, bad, onChange, onHeaders }: InputProps) {
  const label = t(`config.${f.key}` as Key);
  switch (f.kind) {
    case "check":
      return <label class="check"><input type="checkbox" checked={value === true} onChange={(e: Event) => onChange(checkedOf(e))} /> {label}</label>;
    case "tls":
      return (
        <Field label={label} class="w6" error={bad}>
          <select class="field" name={f.key} value={String(value ?? "starttls")} onChange={(e: Event) => onChange(valueOf(e))}>
            <option value="starttls">STARTTLS</option><option value="tls">TLS</option><option value="none">{t("config.plain")}</option>
          </select>
        </Field>
      );
    case "headers":
      return (
        <Field label={label} error={bad ?? (parseHeaders(headers) === null ? t("config.headers.wrong") : undefined)}>
          <textarea class="field" name={f.key} rows={2} value={headers} placeholder={f.placeholder} onInput={(e: Event) => onHeaders(valueOf(e))} spellcheck={false} />
        </Field>
      );
    default:
      return (
        <Field label={label} class={f.key === "url" ? "" : "w6"} error={bad} hint={f.kind === "secret" && value === "***" ? t("config.kept") : undefined}>
          <Text class="field mono" name={f.key} secret={f.kind === "secret"} value={String(value ?? "")} placeholder={f.placeholder} onText={onChange} />
        </Field>
      );
  }
}
