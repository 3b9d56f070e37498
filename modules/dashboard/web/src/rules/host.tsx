// One host: whether it is alive, and which rules hold for it with the reason for each.
import { useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { now } from "../clock";
import { age, count, t } from "../i18n";
import { useLoad } from "../load";
import { place } from "../router";
import { Link } from "../frame";
import { defaults, formatView } from "../explore/view";
import { PauseIcon } from "../ui/icons";
import { Head, None, Pill, Priority, Status, Tool } from "../ui/parts";
import { read } from "../write";
import { conditionOf, parts } from "./data";
import { Disable, DisabledNow, DisabledPill, useDisabled, type Target } from "./disable";
import { envName, HostEnv } from "./env";
import { Alive, type HostList } from "./hosts";
import { inMaintenance, Maintain, MaintainPill } from "./maintain";

interface Named {
  id: number;
  name: string;
}

/** What hbs tells of a strategy that reaches a host; it writes the strategy as judge gets it. */
interface Rule {
  strategy: { id: number; metric: string; tags: Record<string, string> | null; func: string; operator: string; rightValue: number; maxStep: number; priority: number; note: string; valueType?: string; rightString?: string };
  owner_tpl: Named;
  leaf_tpl: Named;
  chain: Named[];
  action: { id: number; uic: string };
  groups: (Named & { env: string })[];
  in_window: boolean;
  /** By what it is hidden, and until when. */
  disabled: Hiding | null;
  overridden: { strategy_id: number; tpl_id: number }[];
}

interface Hiding {
  type: 1 | 2 | 3 | 4 | 5;
  until: number;
  reason: string;
  operator: string;
}

interface Rules {
  host: { id: number; hostname: string; maintain: boolean; disabled: Hiding | null };
  strategies: Rule[] | null;
  expressions: { id: number; metric: string; tags: Record<string, string> | null; func: string; operator: string; rightValue: number; priority: number; note: string }[] | null;
}

const tagText = (tags: Record<string, string> | null): string => Object.entries(tags ?? {}).map(([k, v]) => k + "=" + v).sort().join(",");

const whyOf = (d: Hiding): string => [t(`disable.type.${d.type}`), d.operator, d.reason].filter((s) => s !== "").join(" · ");

export function HostPage() {
  const id = Number(place.value.path.split("/")[2]);
  const rules = useLoad("rules " + id, (s) => read<Rules>(`/host/${id}/strategies`, s));
  const groups = useLoad("groups of " + id, (s) => read<{ id: number; grp_name: string }[] | null>(`/host/${id}/hostgroup`, s).then((a) => a ?? []));
  const name = rules.data?.host.hostname ?? "";
  const facts = useLoad(name, async (s) => (await read<HostList>(`/hosts?q=${encodeURIComponent(name)}&limit=100&page=1`, s)).hosts?.find((h) => h.id === id) ?? null, { every: 10 });
  const h = facts.data;
  const at = now.value;
  const disabled = useDisabled("&host_id=" + id);
  const off = useSignal<{ target: Target; name: string } | null>(null);
  const done = () => [facts, rules, disabled].forEach((l) => l.reload());
  const all = rules.data?.strategies ?? [];
  const expressions = rules.data?.expressions ?? [];
  return (
    <div class="page">
      <header class="page-head">
        <div class="crumbs"><Link href="/hosts" class="crumb">{t("hosts")}</Link><h1><span class="mono">{name || "#" + id}</span></h1></div>
        {h ? <MaintainPill h={h} /> : null}
        {h ? <DisabledPill until={h.disabled_until} /> : null}
        <div class="end">
          {h ? <Maintain ids={[id]} some={inMaintenance(h, at) || h.maintain_end > at} onDone={done} /> : null}
          {h ? <button type="button" class="button" onClick={() => (off.value = { target: { type: 1, host_id: id }, name })}>{t("disable")}</button> : null}
          {name ? <Link class="button" href={"/explore" + formatView({ ...defaults, endpoints: [name] })}>{t("charts")}</Link> : null}
          {name ? <Link class="button" href={"/alarms?e=" + encodeURIComponent("^" + name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + "$")}>{t("alarms")}</Link> : null}
        </div>
      </header>
      <Status of={[rules, facts, groups]} />
      {h ? (
        <dl class="facts-list in-columns">
          <dt>{t("host.seen")}</dt>
          <dd><Alive h={h} /> {h.last_seen === 0 ? t("host.never") : t("ago", { age: age(at - h.last_seen) })}</dd>
          <dt>IP</dt><dd class="mono">{h.ip || "–"}</dd>
          <dt>{t("host.agent")}</dt><dd class="mono">{h.agent_version || "–"}</dd>
          <dt>{t("plugins")}</dt><dd class="mono">{h.plugin_version || "–"}</dd>
          <dt>{t("env")}</dt><dd><HostEnv ids={[id]} value={h.env} onDone={done} /></dd>
        </dl>
      ) : null}
      <div class="chips">
        {(groups.data ?? h?.groups ?? []).map((g) => <Link key={g.id} href={"/hostgroups/" + g.id} class="chip">{g.grp_name}</Link>)}
        {groups.data?.length === 0 ? <span class="warn-text">{t("host.nogroup")}</span> : null}
      </div>
      <DisabledNow of={disabled} onEnd={done} />
      <section class="section">
        <div class="section-head"><h2>{t("host.rules")} <span class="count">{rules.data ? count(all.length) : ""}</span></h2></div>
        {rules.data?.host.maintain ? <div class="note warn">{t("host.maintained")}</div> : null}
        {rules.data?.host.disabled ? <div class="note warn">{t("host.disabled")}</div> : null}
        {all.length > 0 ? (
          <table class="grid blocks">
            <Head columns={[[t("metric")], [t("condition")], [t("priority.short")], [t("host.chain")], [t("hostgroups"), "roomy-only"], [t("action")]]} tools />
            <tbody>
              {all.map((r) => {
                const s = r.strategy;
                const tags = tagText(s.tags);
                return (
                  <tr key={s.id + " " + r.leaf_tpl.id} class={r.in_window && !r.disabled ? "" : "gone"}>
                    <td class="mono main">{s.metric} {tags ? <span class="sub">{tags}</span> : null}</td>
                    <td class="mono">{conditionOf({ func: s.func, op: s.operator, right_value: String(s.rightValue), value_type: s.valueType ?? "", right_string: s.rightString ?? "" })} {r.in_window ? null : <Pill tone="none">{t("host.offhours")}</Pill>} {r.disabled ? <DisabledPill until={r.disabled.until} why={whyOf(r.disabled)} /> : null}</td>
                    <td><Priority p={s.priority} /></td>
                    <td>
                      <span class="chain">
                        {r.chain.map((c, i) => (
                          <Fragment key={c.id}>
                            {i > 0 ? <span class="sub">›</span> : null}
                            <Link href={`/templates/${c.id}${c.id === r.owner_tpl.id ? "?on=" + s.id : ""}`} class={c.id === r.owner_tpl.id ? "owner" : "sub"}>{c.name}</Link>
                          </Fragment>
                        ))}
                        {r.overridden.map((o) => (
                          <Link key={o.strategy_id} href={`/templates/${o.tpl_id}?on=${o.strategy_id}`} class="sub">
                            <s>{t("host.replaces", { name: r.chain.find((c) => c.id === o.tpl_id)?.name ?? "#" + o.tpl_id })}</s>
                          </Link>
                        ))}
                      </span>
                    </td>
                    <td class="roomy-only"><span class="chips">{r.groups.map((g) => <Link key={g.id + g.env} href={"/hostgroups/" + g.id} class="chip">{g.env ? `${g.name} · ${envName(g.env)}` : g.name}</Link>)}</span></td>
                    <td>{parts(r.action.uic).join(", ") || <span class="warn-text">{t("action.nobody")}</span>}</td>
                    <td class="tools-col">
                      {r.disabled ? null : (
                        <Tool does={t("disable.here")} to={s.metric} onClick={() => (off.value = { target: { type: 4, strategy_id: s.id, host_id: id }, name: `${s.metric} · ${name}` })}><PauseIcon /></Tool>
                      )}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        ) : <None of={rules}><b>{t("host.norules")}</b><span>{t("host.norules.text")}</span></None>}
      </section>
      {off.value ? <Disable targets={[off.value.target]} name={off.value.name} onDone={done} onClose={() => (off.value = null)} /> : null}
      {expressions.length > 0 ? (
        <section class="section">
          <div class="section-head"><h2>{t("expressions")} <span class="count">{count(expressions.length)}</span></h2></div>
          <table class="grid">
            <tbody>
              {expressions.map((e) => (
                <tr key={e.id}>
                  <td class="mono">{e.metric} <span class="sub">{tagText(e.tags)}</span></td>
                  <td class="mono">{e.func} {e.operator} {e.rightValue}</td>
                  <td class="tight"><Priority p={e.priority} /></td>
                  <td class="wide-only sub">{e.note}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      ) : null}
    </div>
  );
}
