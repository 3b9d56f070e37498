// The hosts: who is alive, which versions they have, and which are in maintenance.
import { useSignal } from "@preact/signals";
import { call } from "../api";
import { now } from "../clock";
import { count, t } from "../i18n";
import { useLoad } from "../load";
import { ask, param } from "../query";
import { Link } from "../frame";
import { Filter, Ago, None, Status } from "../ui/parts";
import type { Host } from "./data";
import { Disable, DisabledNow, DisabledPill, useDisabled } from "./disable";
import { envName, HostEnv } from "./env";
import { Join } from "./join";
import { Upgrades } from "./upgrade";
import { inMaintenance, Maintain, MaintainPill } from "./maintain";

const pageSize = 100;
const pace = 10; // seconds

export interface HostList {
  total: number;
  hosts: Host[] | null;
}

/** Whether a host reports, as a mark. */
export function Alive({ h }: { h: Host }) {
  const text = t(h.last_seen === 0 ? "host.never" : h.alive ? "host.alive" : "host.silent");
  return <span class={"alive" + (h.last_seen === 0 ? " never" : h.alive ? "" : " off")} role="img" aria-label={text} title={text} />;
}

export function Hosts() {
  const q = param("q");
  const page = Math.max(1, Number(param("page")) || 1);
  const list = useLoad(`${q}\n${page}`, async (s) => {
    const a = await call<HostList>(`/hosts?q=${encodeURIComponent(q)}&limit=${pageSize}&page=${page}`, { signal: s });
    return { ...a.data, missing: a.missing };
  }, { every: pace, keep: true });
  const disabled = useDisabled();
  const chosen = useSignal<ReadonlySet<number>>(new Set());
  const off = useSignal(false);
  const rows = list.data?.hosts ?? [];
  const total = list.data?.total ?? 0;
  const pages = Math.max(1, Math.ceil(total / pageSize));
  const here = rows.filter((h) => chosen.value.has(h.id));
  const toggle = (ids: number[], on: boolean) => {
    const s = new Set(chosen.peek());
    for (const id of ids) if (on) s.add(id);
      else s.delete(id);
    chosen.value = s;
  };
  const done = () => {
    chosen.value = new Set();
    list.reload();
    disabled.reload();
  };
  const every = rows.length > 0 && rows.every((h) => chosen.value.has(h.id));
  return (
    <div class="page">
      <header class="page-head">
        <h1>{t("hosts")} <span class="count">{list.data ? count(total) : ""}</span></h1>
        <Filter value={q} placeholder={t("hosts.filter")} onText={(text) => ask({ q: text, page: "" }, true)} />
        {here.length > 0 ? (
          <div class="end chosen">
            <b>{t("chosen.n", { n: count(here.length) })}</b>
            <Maintain
              ids={here.map((h) => h.id)} some={here.some((h) => inMaintenance(h, now.value))}
              onDone={done}
            />
            <button type="button" class="button" onClick={() => (off.value = true)}>{t("disable")}</button>
            <HostEnv ids={here.map((h) => h.id)} onDone={done} />
          </div>
        ) : <div class="end"><Join /></div>}
      </header>
      <Status of={[list]} />
      {list.data && list.data.missing.length > 0 ? <div class="note warn">{t("hosts.partial")}</div> : null}
      <Upgrades />
      {rows.length > 0 ? (
        <table class="grid hosts">
          <thead>
            <tr>
              <th class="tight"><input type="checkbox" aria-label={t("all")} checked={every} onChange={() => toggle(rows.map((h) => h.id), !every)} /></th>
              <th scope="col">{t("host")}</th><th scope="col" class="num">{t("host.seen")}</th><th scope="col" class="wide-only">IP</th>
              <th scope="col" class="wide-only">{t("host.agent")}</th><th scope="col" class="wide-only roomy-only">{t("plugins")}</th><th scope="col" class="wide-only">{t("env")}</th><th scope="col" class="wide-only">{t("hostgroups")}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((h) => (
              <tr key={h.id} class={chosen.value.has(h.id) ? "on" : ""}>
                <td class="tight"><input type="checkbox" aria-label={h.hostname} checked={chosen.value.has(h.id)} onChange={() => toggle([h.id], !chosen.value.has(h.id))} /></td>
                <td class="mono"><Alive h={h} /> <Link href={"/hosts/" + h.id}>{h.hostname}</Link> <MaintainPill h={h} /> <DisabledPill until={h.disabled_until} /></td>
                <td class={"num" + (h.alive ? " sub" : " bad-text")}>{h.last_seen === 0 ? <span class="sub">{t("host.never")}</span> : <Ago ts={h.last_seen} />}</td>
                <td class="mono sub wide-only">{h.ip}</td>
                <td class="mono sub wide-only">{h.agent_version}{h.upgrade_error ? <span class="bad-text" title={h.upgrade_error} role="img" aria-label={h.upgrade_error}> ⚠</span> : null}</td>
                <td class="mono sub wide-only roomy-only">{h.plugin_version}</td>
                <td class="wide-only sub">{h.env ? envName(h.env) : ""}</td>
                <td class="wide-only"><span class="chips">{(h.groups ?? []).map((g) => <Link key={g.id} href={"/hostgroups/" + g.id} class="chip">{g.grp_name}</Link>)}</span></td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : q !== "" && list.data ? (
        <div class="blank">{t("nomatch")} <button type="button" class="link" onClick={() => ask({ q: "", page: "" })}>{t("clear.filters")}</button></div>
      ) : (
        <None of={list}><b>{t("hosts.none")}</b><span>{t("hosts.none.text")}</span></None>
      )}
      <DisabledNow of={disabled} onEnd={list.reload} />
      {off.value ? (
        <Disable
          targets={here.map((h) => ({ type: 1, host_id: h.id }))} name={here.length === 1 ? (here[0] as Host).hostname : t("disable.hosts", { n: count(here.length) })}
          onDone={done} onClose={() => (off.value = false)}
        />
      ) : null}
      {pages > 1 ? (
        <nav class="pager" aria-label={t("pages")}>
          <button type="button" class="button" disabled={page <= 1} onClick={() => ask({ page: page > 2 ? String(page - 1) : "" })}>←<span class="hidden">{t("page.back")}</span></button>
          <span class="sub">{t("page.of", { n: count((page - 1) * pageSize + 1), m: count(Math.min(total, page * pageSize)), all: count(total) })}</span>
          <button type="button" class="button" disabled={page >= pages} onClick={() => ask({ page: String(page + 1) })}>→<span class="hidden">{t("page.next")}</span></button>
        </nav>
      ) : null}
    </div>
  );
}
