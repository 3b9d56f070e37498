// One host: whether it is alive, and which rules hold for it with the reason for each.
import { Fragment } from "preact";
import { now } from "../clock";
import { age, count, t } from "../i18n";
import { useLoad } from "../load";
import { place } from "../router";
import { Link } from "../frame";
import { defaults, formatView } from "../explore/view";
import { Head, None, Pill, Priority, Status } from "../ui/parts";
import { read } from "../write";
import { parts } from "./data";
import { Alive, type HostList } from "./hosts";
import { inMaintenance, Maintain, MaintainPill } from "./maintain";

interface Named {
  id: number;
  name: string;
}

/** What hbs tells of a strategy that reaches a host; it writes the strategy as judge gets it. */
interface Rule {
  strategy: { id: number; metric: string; tags: Record<string, string> | null; func: string; operator: string; rightValue: number; maxStep: number; priority: number; note: string };
  owner_tpl: Named;
  leaf_tpl: Named;
  chain: Named[];
  action: { id: number; uic: string };
  groups: Named[];
  in_window: boolean;
  overridden: { strategy_id: number; tpl_id: number }[];
}

interface Rules {
  host: { id: number; hostname: string; maintain: boolean };
  strategies: Rule[] | null;
  expressions: { id: number; metric: string; tags: Record<string, string> | null; func: string; operator: string; rightValue: number; priority: number; note: string }[] | null;
}

const tagText = (tags: Record<string, string> | null): string => Object.entries(tags ?? {}).map(([k, v]) => k + "=" + v).sort().join(",");

export function HostPage() {
  const id = Number(place.value.path.split("/")[2]);
  const rules = useLoad("rules " + id, (s) => read<Rules>(`/host/${id}/strategies`, s));
  const groups = useLoad("groups of " + id, (s) => read<{ id: number; grp_name: string }[] | null>(`/host/${id}/hostgroup`, s).then((a) => a ?? []));
  const name = rules.data?.host.hostname ?? "";
  const facts = useLoad(name, async (s) => (await read<HostList>(`/hosts?q=${encodeURIComponent(name)}&limit=100&page=1`, s)).hosts?.find((h) => h.id === id) ?? null, { every: 10 });
  const h = facts.data;
  const at = now.value;
  const all = rules.data?.strategies ?? [];
  const expressions = rules.data?.expressions ?? [];
  return (
    <div class="page">
      <header class="page-head">
        <div class="crumbs"><Link href="/hosts" class="crumb">{t("hosts")}</Link><h1><span class="mono">{name || "#" + id}</span></h1></div>
        {h ? <MaintainPill h={h} /> : null}
        <div class="end">
          {h ? <Maintain ids={[id]} some={inMaintenance(h, at) || h.maintain_end > at} onDone={() => [facts, rules].forEach((l) => l.reload())} /> : null}
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
        </dl>
      ) : null}
      <div class="chips">
        {(groups.data ?? h?.groups ?? []).map((g) => <Link key={g.id} href={"/hostgroups/" + g.id} class="chip">{g.grp_name}</Link>)}
        {groups.data?.length === 0 ? <span class="warn-text">{t("host.nogroup")}</span> : null}
      </div>
      <section class="section">
        <div class="section-head"><h2>{t("host.rules")} <span class="count">{rules.data ? count(all.length) : ""}</span></h2></div>
        {rules.data?.host.maintain ? <div class="note warn">{t("host.maintained")}</div> : null}
        {all.length > 0 ? (
          <table class="grid blocks">
            <Head columns={[[t("metric")], [t("condition")], [t("priority.short")], [t("host.chain")], [t("hostgroups"), "wide-only"], [t("action")]]} />
            <tbody>
              {all.map((r) => {
                const s = r.strategy;
                const tags = tagText(s.tags);
                return (
                  <tr key={s.id + " " + r.leaf_tpl.id} class={r.in_window ? "" : "gone"}>
                    <td class="mono main">{s.metric} {tags ? <span class="sub">{tags}</span> : null}</td>
                    <td class="mono">{s.func} {s.operator} {s.rightValue} {r.in_window ? null : <Pill tone="none">{t("host.offhours")}</Pill>}</td>
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
                    <td class="wide-only"><span class="chips">{r.groups.map((g) => <Link key={g.id} href={"/hostgroups/" + g.id} class="chip">{g.name}</Link>)}</span></td>
                    <td>{parts(r.action.uic).join(", ") || <span class="warn-text">{t("action.nobody")}</span>}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        ) : <None of={rules}><b>{t("host.norules")}</b><span>{t("host.norules.text")}</span></None>}
      </section>
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
