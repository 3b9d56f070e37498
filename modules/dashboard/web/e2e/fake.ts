// An api in the browser, for what a real one can not be brought to at will: a store
// that fails, a fleet without a single row, answers that take their time. What it
// answers has the shapes of the real one.
import type { Page, Route } from "playwright-core";

export interface Call {
  method: string;
  path: string;
  body: unknown;
  /** The token that proves a change comes from the page. */
  csrf: string;
}

export interface Fake {
  /** What the page has changed, in order. */
  writes: Call[];
  /** How many times path was asked for. */
  asked(path: string): number;
  /** Every list is without rows. */
  empty: boolean;
  /** Who is logged in is no administrator. */
  plain: boolean;
  /** How the road and the daemons are. */
  health: Record<string, unknown>;
  /** How far the upgrade of agents is. */
  upgrade: Record<string, unknown>;
  /** Judges that did not answer. */
  missing: string;
  /** Every request but those of the session fails. */
  fail: boolean;
  /** Milliseconds that each answer takes. */
  slow: number;
}

const token = "a-token-of-the-session";
const now = Math.floor(Date.now() / 1000);
/** A time that is said with its day, the longest that it gets. */
const later = now + 2 * 86400;
const iso = (ago: number) => new Date((now - ago) * 1000).toISOString();

const oneCase = (id: string, endpoint: string, metric: string, func: string, cond: string, priority: number, ago: number, step: number, note: string, status = "PROBLEM") => ({
  id, endpoint, metric, func, cond, note, step: 3, current_step: step, priority, status, timestamp: iso(ago), update_at: iso(Math.min(ago, 300)), closed_at: null, closed_note: "",
  user_modified: 0, tpl_creator: "root", expression_id: 0, strategy_id: 41, template_id: 2, process_note: 0, process_status: "unresolved",
});
const open = [
  oneCase("s_41_a", "web-014.bj", "df.bytes.free.percent/fstype=ext4,mount=/data", "all(#3)", "8.904761904761905 < 10", 0, 720, 2, "data disk nearly full"),
  oneCase("s_42_b", "mysql-03.sh", "mysql.slave.lag/port=3306", "all(#3)", "412 > 300", 1, 1860, 3, "replica lags behind"),
  oneCase("s_46_c", "kafka-07.a-long-host-name.production.example.com", "agent.heartbeat.alive", "all(#1)", "0 == 0", 0, 95, 1, "host is silent"),
];
const combined = oneCase("m_7_e", "web-002.bj", "df.bytes.free.percent", "all(#3)", "8 < 10", 2, 300, 1, "disk and load"); // not in the list
const standings = [
  { event_id: "s_42_b", last_point: now - 7300, stopped: true, closes_at: now + 590_000, host_gone: true, acked: false, acked_by: "", acked_at: 0 },
  { event_id: "s_46_c", last_point: now - 20, stopped: false, closes_at: 0, host_gone: false, acked: true, acked_by: "anna", acked_at: now - 60 },
];
const conditions = (endpoint: string, status: string, holds: number) => ({
  serial: "s7", endpoint, action: 1, status, step: 1, since: status === "PROBLEM" ? now - 300 : 0, event: "m_7_e", count: 3, holds, unheard: 1, heard: now - 5,
  members: [
    { strategy_id: 41, metric: "df.bytes.free.percent", rule: "all(#3) < 10", holds: true, since: now - 900, series: [{ counter: "df.bytes.free.percent/mount=/data", status: "PROBLEM", value: 8, time: now - 60, heard: now - 5 }] },
    { strategy_id: 42, metric: "net.if.in.bits", rule: "avg(#5) > 900000000", holds: holds > 1, since: now - 300, series: [{ counter: "net.if.in.bits/iface=eth0", status: holds > 1 ? "PROBLEM" : "OK", value: 912345678, time: now - 60, heard: now - 5 }] },
  ],
});
const expression = (id: number, text: string, note: string, pause: number) => ({ id, expression: text, func: "all(#3)", op: ">", right_value: "100", max_step: 3, priority: id % 3, note, action_id: 1, create_user: "anna", pause });
const expressions = [expression(1, "each(metric=qps srv=pay)", "payments are busy", 0), expression(2, "each(metric=latency.p99 srv=pay ^idc=bj)", "", 1)];
const over = [oneCase("s_50_d", "web-003.bj", "cpu.idle", "all(#3)", "64 < 10", 1, 5000, 1, "cpu", "OK")];
const people = ["root", "anna", "bo"].map((name, i) => ({ id: i + 1, name, cnname: name.toUpperCase(), email: name + "@example.com", phone: "", im: "", qq: "", role: i === 0 ? 2 : 0 }));
const strategy = (id: number, tpl_id: number, metric: string, tags: string, func: string, op: string, right_value: string, priority: number) => ({
  id, tpl_id, metric, tags, func, op, right_value, priority, max_step: 3, note: "", run_begin: "", run_end: "",
});
const basics = { id: 1, tpl_name: "host.basics", parent_id: 0, action_id: 1, create_user: "root" };
const disk = { id: 2, tpl_name: "web.disk", parent_id: 1, action_id: 1, create_user: "anna" };
const inherited = [
  { strategy: strategy(1, 1, "df.bytes.free.percent", "", "all(#1)", "<", "5", 1), tpl_id: 1, tpl_name: "host.basics", overridden_by: 41, own: false },
  { strategy: strategy(2, 1, "load.1minPerCPU", "", "all(#3)", ">", "3", 2), tpl_id: 1, tpl_name: "host.basics", overridden_by: 0, own: false },
  { strategy: strategy(41, 2, "df.bytes.free.percent", "", "all(#3)", "<", "10", 0), tpl_id: 2, tpl_name: "web.disk", overridden_by: 0, own: true },
  { strategy: strategy(42, 2, "net.if.in.bits", "iface=eth0", "avg(#5)", ">", "900000000", 2), tpl_id: 2, tpl_name: "web.disk", overridden_by: 0, own: true },
];
const action = { id: 1, uic: "ops", url: "", callback: 0, before_callback_sms: 0, before_callback_mail: 0, after_callback_sms: 0, after_callback_mail: 0, channels: "" };
const groups = [{ id: 1, grp_name: "all", create_user: "root" }, { id: 2, grp_name: "shop.web", create_user: "anna" }];
const host = (id: number, alive: boolean) => ({
  id, hostname: `web-00${id}.bj`, ip: "10.1.0." + id, agent_version: "0.1.0", plugin_version: "", alive, last_seen: alive ? now - 99 : now - 4000,
  maintain_begin: id === 3 ? now - 60 : 0, maintain_end: id === 3 ? later : 0, groups: [{ id: 2, grp_name: "shop.web" }],
  env: id === 1 ? "prod" : "", disabled_until: id === 2 ? later : 0,
});
const hosts = [host(1, true), host(2, false), host(3, true)];
const disabling = (id: number, type: number, names: object) => ({
  id, type, host_id: 0, tpl_id: 0, strategy_id: 0, grp_id: 0, begin_ts: now - 60, end_ts: later + 1800 * id, duration: "30m", reason: "disk is swapped", operator: "anna",
  cancel_ts: 0, cancel_user: "", hostname: "", tpl_name: "", metric: "", note: "", grp_name: "", ...names,
});
const disables = [
  disabling(1, 1, { host_id: 2, hostname: "web-002.bj" }),
  disabling(2, 4, { host_id: 3, hostname: "web-003.bj", strategy_id: 41, metric: "df.bytes.free.percent", tpl_name: "web.disk" }),
  disabling(3, 5, { tpl_id: 2, tpl_name: "web.disk", grp_id: 2, grp_name: "shop.web" }),
];
const hidden = (id: number, metric: string, n: number) => ({ id, metric, note: "", leaf_tpl: { id: 2, name: "web.disk" }, host_count: n });
const channels = [
  { id: 1, name: "inbox", type: "inbox", config: {}, enabled: true, creator: "root" },
  {
    id: 2, name: "mail", type: "mail", enabled: true, creator: "anna",
    config: { server: "smtp.example.com:587", tls: "starttls", user: "falcon", password: "***", from: "falcon@example.com", skip_verify: false },
  },
];
const teams = [{ team: { id: 1, name: "ops", resume: "on call", creator: 1 }, creator_name: "root", users: people.slice(0, 2) }];

class Refused extends Error {
  constructor(readonly status: number, text: string, readonly field = "") {
    super(text);
  }
}

/** A rule that fires three times on two of fourteen hosts, once up to now. */
function fired(b: Record<string, unknown>) {
  const [start, end] = [b["start"] as number, b["end"] as number];
  const at = (part: number) => start + Math.round(((end - start) * part) / 60) * 60;
  const low = [[0.2, 0.3], [0.6, 0.75]];
  const points = (bad: number[][], phase: number) => Array.from({ length: 240 }, (_, i) => {
    const x = i / 239;
    const v = bad.some(([a, z]) => x >= (a as number) && x < (z as number)) ? 4 : 30 + 12 * Math.sin(x * 20 + phase);
    return [start + Math.round((end - start) * x), x > 0.4 && x < 0.45 ? null : Math.round(v * 10) / 10];
  });
  const one = (endpoint: string, n: number, firing: boolean, bad: number[][], phase: number) => ({
    endpoint, counter: String(b["metric"]), type: "GAUGE", step: 60, fired: n, told: n, firing, points: points(bad, phase),
  });
  const event = (endpoint: string, part: number, status: string, value: number) => ({ endpoint, counter: String(b["metric"]), tags: {}, time: at(part), value, status, step: 1 });
  return {
    start, end, hosts: 14, matches: 14, more: false, looked_at: 13, points: 18720, oldest: start, fired: 3, told: 3, recovered: 2, fired_series: 2, fired_hosts: 2, firing: 1,
    events: [
      event("web-001.bj", 0.2, "PROBLEM", 4), event("web-001.bj", 0.3, "OK", 28.4), event("web-001.bj", 0.6, "PROBLEM", 4), event("web-001.bj", 0.75, "OK", 31), event("web-002.bj", 0.9, "PROBLEM", 4),
    ],
    series: [one("web-001.bj", 2, false, low, 0), one("web-002.bj", 1, true, [[0.9, 2]], 1), one("web-003.bj", 0, false, [], 2)],
    warnings: [], notes: [{ code: "silent", n: 1, text: "1 series have no point in the range" }],
  };
}

const quiet = (b: Record<string, unknown>) => ({
  start: b["start"], end: b["end"], hosts: 0, matches: 0, more: false, looked_at: 0, points: 0, oldest: 0, fired: 0, told: 0, recovered: 0, fired_series: 0, fired_hosts: 0, firing: 0,
  events: [], series: [], warnings: [], notes: [{ code: "no_hosts", n: 0, text: "the rule reaches no host" }],
});

type Answer = (m: RegExpExecArray, q: URLSearchParams, body: Record<string, unknown>) => unknown;

/** Answers every call of the page. Reload the page after a change of fake.empty. */
export async function useFake(p: Page): Promise<Fake> {
  const items = open.map(({ id, endpoint, metric, priority, status }, i) => ({
    id: i + 1, created: now - 60 - i, read_at: i > 1 ? now : 0, case_id: id, event_ts: now - 60, endpoint, metric, priority, status, step: 1, channel: "inbox",
  }));
  const unread = () => items.filter((i) => i.read_at === 0).length;
  const counts = new Map<string, number>();
  const fake: Fake = { writes: [], asked: (path) => counts.get(path) ?? 0, empty: false, plain: false, fail: false, missing: "", slow: 0, health: {}, upgrade: { upgrade: { state: "none" }, versions: { "0.1.0": 3 }, claimed_twice: [] } };
  const rows = <T>(all: T[]): T[] => (fake.empty ? [] : all);
  const known = <T>(one: T | undefined): T => {
    if (one === undefined) throw new Refused(404, "there is no such row");
    return one;
  };
  const acked: string[] = [];
  const freed: string[] = [];
  const ended = new Set<number>();
  const has: string[] = hosts.map((h) => h.hostname);
  const routes: [string, RegExp, Answer][] = [
    ["GET", /^\/user\/current$/, () => (fake.plain ? people[1] : people[0])],
    ["GET", /^\/user\/users$/, () => rows(people)],
    ["POST", /^\/user\/create$/, (_m, _q, b) => ({ sig: "", name: b["name"] })],
    ["GET", /^\/alarm\/eventcases$/, (_m, q) => (q.get("event_id") ? [...open, ...over, combined].filter((c) => c.id === q.get("event_id")) : rows(q.get("status") === "OK" ? over : open))],
    ["GET", /^\/alarm\/events$/, () => [
      { id: 2, event_caseId: "s_41_a", step: 2, cond: "8.4 < 10", status: 0, timestamp: iso(420) }, { id: 1, event_caseId: "s_41_a", step: 1, cond: "8.9 < 10", status: 0, timestamp: iso(720) },
    ]],
    ["GET", /^\/alarm\/event_note$/, () => [{ event_caseId: "s_41_a", note: "moving the logs away", case_id: "", status: "in progress", timestamp: iso(300), user: "anna" }]],
    ["GET", /^\/alarm\/notices$/, () => [
      { id: 1, event_ts: now - 720, send_ts: now - 719, status: "PROBLEM", step: 1, action_id: 1, receiver: "anna", channel: "inbox", result: "sent", attempts: 1, answer: "" },
      { id: 2, event_ts: now - 720, send_ts: now - 718, status: "PROBLEM", step: 1, action_id: 1, receiver: "bo", channel: "mail", result: "failed", attempts: 3, answer: "451 4.7.1 try again later" },
    ]],
    ["GET", /^\/alarm\/inbox$/, () => (fake.empty ? { unread: 0, items: [] } : { unread: unread(), items })],
    ["POST", /^\/alarm\/inbox\/read$/, (_m, _q, b) => {
      const ids = (b["ids"] as number[] | undefined) ?? [];
      for (const i of items) if (ids.length === 0 || ids.includes(i.id)) i.read_at = now;
      return { unread: unread() };
    }],
    ["GET", /^\/alarm\/problems$/, (_m, q) => {
      const mine = acked.map((id) => ({ ...(standings.find((s) => s.event_id === id) ?? { event_id: id, last_point: now, stopped: false, closes_at: 0, host_gone: false }), acked: true, acked_by: "root", acked_at: now }));
      return rows([...mine, ...standings.filter((s) => !acked.includes(s.event_id) && !freed.includes(s.event_id))]).filter((s) => [null, s.event_id].includes(q.get("event_id")));
    }],
    ["POST", /^\/alarm\/ack$/, (_m, _q, b) => {
      if (b["event_id"] === "s_42_b") throw new Refused(404, "there is nothing to acknowledge: the problem is over, or its rule is gone");
      acked.push(b["event_id"] as string);
      return { event_id: b["event_id"], matched: 1 };
    }],
    ["DELETE", /^\/alarm\/ack\/(\w+)$/, (m) => {
      freed.push(m[1] as string);
      acked.splice(0, acked.length, ...acked.filter((id) => id !== m[1]));
      return { event_id: m[1], matched: 1 };
    }],
    ["GET", /^\/alarm\/combinations$/, (_m, q) => {
      const all = q.get("event_id") ? [conditions("web-002.bj", "PROBLEM", 2)] : rows([conditions("web-001.bj", "OK", 1), conditions("web-002.bj", "PROBLEM", 2)]);
      return { total: all.length + (q.get("serial") && all.length > 0 ? 4 : 0), combinations: all };
    }],
    ["GET", /^\/expression$/, () => rows(expressions)],
    ["GET", /^\/expression\/(\d+)$/, (m) => ({ expression: known(expressions.find((e) => String(e.id) === m[1])), action })],
    ["POST", /^\/expression\/backtest$/, (_m, _q, b) => {
      if (!String(b["expression"]).startsWith("each(")) throw new Refused(400, `expression "${String(b["expression"])}": write each(metric=qps srv=pay)`, "expression");
      return fired({ ...b, metric: "qps" });
    }],
    ["POST", /^\/expression$/, (_m, _q, b) => {
      if (b["expression"] === "each(metric=qps)") throw new Refused(400, "the expression has no tag that must match", "expression");
      return { message: "expression created" };
    }],
    ["POST", /^\/graph\/history$/, (_m, _q, b) => {
      const values: { timestamp: number; value: number }[] = [];
      for (let ts = b["start_time"] as number; ts <= (b["end_time"] as number); ts += 60) values.push({ timestamp: ts, value: 8 + ((b["end_time"] as number) - ts) / 240 });
      return (b["hostnames"] as string[]).flatMap((endpoint) => (b["counters"] as string[]).map((counter) => ({ endpoint, counter, dstype: "GAUGE", step: 60, Values: values })));
    }],
    ["GET", /^\/graph\/endpoint$/, () => rows(hosts.map((h) => ({ endpoint: h.hostname, id: h.id, ts: now })))],
    ["GET", /^\/graph\/endpoint_counter$/, () => []],
    ["GET", /^\/metric\/default_list$/, () => ["cpu.idle", "df.bytes.free.percent", ""]],
    ["GET", /^\/template$/, () => ({ templates: rows([basics, disk].map((x) => ({ template: x, parent_name: x.parent_id ? "host.basics" : "" }))) })],
    ["GET", /^\/template\/(\d+)$/, (m) => ({ template: known([basics, disk].find((x) => String(x.id) === m[1])), stratges: [], action, parent_name: "" })],
    ["GET", /^\/template\/(\d+)\/inherited$/, () => ({ chain: [basics, disk].map(({ id, tpl_name }) => ({ id, tpl_name })), strategies: rows(inherited) })],
    ["GET", /^\/union$/, () => rows([{ id: 7, name: "disk and load", create_user: "root", tpl_id: 2, strategy_ids: [41, 42], serial: "s7", count: 2 }])],
    ["GET", /^\/template\/(\d+)\/hostgroup$/, () => ({ template: disk, hostgroups: rows(groups.slice(1)), env_bindings: rows([{ id: 1, grp_id: 1, tpl_id: 2, env: "prod", bind_user: "anna", grp_name: "all", tpl_name: "web.disk" }]) })],
    ["POST", /^\/template$/, (_m, _q, b) => ({ ...basics, id: 1, tpl_name: b["name"] })],
    ["POST", /^\/strategy\/check$/, (_m, _q, b) => {
      const errors: { field: string; error: string }[] = [];
      if (b["metric"] === "") errors.push({ field: "metric", error: "write the name of a metric" });
      if (b["value_type"] === "string" && b["op"] === "=~" && b["right_string"] === "(") errors.push({ field: "right_string", error: '"(" is no regular expression' });
      if (b["value_type"] !== "string" && !/^-?\d+$/.test(b["right_value"] as string)) errors.push({ field: "right_value", error: `"${String(b["right_value"])}" is no number` });
      return { ok: errors.length === 0, errors, warnings: [], matches: b["metric"] === "cpu.idle" ? 12 : 0, examples: b["metric"] === "cpu.idle" ? ["web-001.bj/cpu.idle"] : [] };
    }],
    ["POST", /^\/strategy\/backtest$/, (_m, _q, b) => {
      if (b["func"] === "none") throw new Refused(400, 'function "none": write a name and its window', "func");
      return b["right_value"] === "0" || fake.empty ? quiet(b) : fired(b);
    }],
    ["POST", /^\/strategy$/, (_m, _q, b) => {
      if (b["func"] === "none") throw new Refused(400, '"none" is no function', "func");
      return { ...b, id: 99 };
    }],
    ["GET", /^\/team$/, () => rows(teams)],
    ["GET", /^\/team\/dict$/, () => rows(teams.map((r) => r.team))],
    ["GET", /^\/hostgroup$/, () => rows(groups)],
    ["GET", /^\/hostgroup\/(\d+)$/, (m) => ({ hostgroup: known(groups.find((g) => String(g.id) === m[1])), hosts: rows(hosts) })],
    ["GET", /^\/hostgroup\/(\d+)\/template$/, () => ({ hostgroup: groups[1], templates: rows([disk]) })],
    ["GET", /^\/alarm\/disable$/, () => {
      const there = rows(disables).filter((d) => !ended.has(d.id));
      return { total: there.length, now, disables: there };
    }],
    ["DELETE", /^\/alarm\/disable\/(\d+)$/, (m) => {
      if (m[1] === "2") throw new Refused(400, "you don't have permission");
      ended.add(Number(m[1]));
      return disables[0];
    }],
    ["POST", /^\/alarm\/disable\/preview$/, (_m, _q, b) => ({
      hosts: hosts.map((h) => h.hostname), host_count: b["type"] === 1 || b["type"] === 4 ? 1 : 3, strategies: [hidden(41, "df.bytes.free.percent", 3), hidden(2, "load.1minPerCPU", 2)],
      strategy_count: 2, pair_count: 5, instead: b["type"] === 5 ? [hidden(1, "df.bytes.free.percent", 3)] : [], instead_count: b["type"] === 5 ? 1 : 0, expression_count: b["type"] === 1 ? 2 : 0,
    })],
    ["GET", /^\/hostgroup\/(\d+)\/plugins$/, () => rows([{ id: 1, grp_id: 2, dir: "sys/ntp", create_user: "root" }])],
    ["PUT", /^\/hostgroup\/(\d+)\/hosts$/, (_m, _q, b) => {
      const named = b["hosts"] as string[];
      const added = b["mode"] === "remove" ? [] : named.filter((h) => !has.includes(h));
      const removed = b["mode"] === "add" ? [] : has.filter((h) => named.includes(h) === (b["mode"] === "remove"));
      return { added, removed, created: added, unchanged: has.length - removed.length, members: has.length + added.length - removed.length };
    }],
    ["GET", /^\/fleet\/health$/, () => fake.health],
    ["GET", /^\/agent\/upgrade$/, () => fake.upgrade],
    ["POST", /^\/agent\/upgrade\/(stop|go)$/, (m) => {
      fake.upgrade = { ...fake.upgrade, upgrade: { ...(fake.upgrade.upgrade as object), state: m[1] === "go" ? "running" : "stopped", reason: "" } };
      return m[1] === "go" ? "running" : "stopped";
    }],
    ["DELETE", /^\/agent\/upgrade$/, () => {
      fake.upgrade = { ...fake.upgrade, upgrade: { state: "none" } };
      return "";
    }],
    ["GET", /^\/hosts\/join$/, () => (fake.plain ? { command: "", why: "no host can join: this Falcon listens on its own machine only" } : { command: "curl -fsS http://10.0.0.1:8080/api/v1/join | sudo sh", why: "" })],
    ["GET", /^\/hosts$/, (_m, q) => {
      const found = rows(hosts).filter((h) => (q.get("q") ?? "").split(" ").every((w) => h.hostname.includes(w)));
      return { total: found.length, hosts: found };
    }],
    ["GET", /^\/host\/(\d+)\/hostgroup$/, () => rows(groups.slice(1))],
    ["GET", /^\/host\/(\d+)\/strategies$/, (m) => {
      const h = known(hosts.find((x) => String(x.id) === m[1]));
      const [root, leaf] = [{ id: 1, name: "host.basics" }, { id: 2, name: "web.disk" }];
      const rule = (s: (typeof inherited)[number]["strategy"], owner: object, overridden: object[]) => ({
        strategy: { id: s.id, metric: s.metric, tags: { mount: "/" }, func: s.func, operator: s.op, rightValue: Number(s.right_value), maxStep: 3, priority: s.priority, note: "", actionId: 1, tpl: null },
        owner_tpl: owner, leaf_tpl: leaf, chain: [root, leaf], action: { id: 1, uic: "ops" }, groups: [{ id: 2, name: "shop.web", env: s.id === 41 ? "prod" : "" }], in_window: s.id !== 2, overridden,
        disabled: s.id === 41 && m[1] === "3" ? { type: 4, until: later, id: 2, reason: "disk is swapped", operator: "anna" } : null,
      });
      return {
        host: { id: h.id, hostname: h.hostname, env: h.env, maintain: h.maintain_end > 0, disabled: h.disabled_until > 0 ? { type: 1, until: h.disabled_until, id: 1, reason: "", operator: "anna" } : null }, expressions: [],
        strategies: rows(inherited.slice(1).map((r) => rule(r.strategy, r.own ? leaf : root, r.own ? [{ strategy_id: 1, tpl_id: 1 }] : []))),
      };
    }],
    ["GET", /^\/alarm\/channels$/, () => rows(channels)],
    ["POST", /^\/alarm\/channels\/(\w+)(\/test)?$/, (m) =>
      m[1] === "2" ? { ok: false, answer: "535 5.7.8 authentication failed", error: "the server refused the login" } : { ok: true, answer: "200 OK", error: "" }],
  ];
  const answer = async (route: Route) => {
    const r = route.request();
    const url = new URL(r.url());
    const path = url.pathname.replace(/^\/api\/v1/, "");
    counts.set(path, (counts.get(path) ?? 0) + 1);
    const reply = (status: number, data: unknown) => route.fulfill({ status, json: data, headers: { "X-Falcon-CSRF": token, "X-Falcon-Total": "3", ...(fake.missing && path.startsWith("/alarm/") ? { "X-Falcon-Partial": fake.missing } : {}) } });
    if (path === "/user/auth_session") return reply(200, { message: "session is valid!" });
    if (fake.slow > 0) await new Promise((done) => setTimeout(done, fake.slow));
    if (fake.fail && path !== "/user/current") return reply(500, { error: "the store does not answer" });
    const body = (r.postData() ? r.postDataJSON() : {}) as Record<string, unknown>;
    const write = r.method() !== "GET" && path !== "/graph/history" && path !== "/strategy/check" && !path.endsWith("/backtest") && path !== "/alarm/disable/preview" && body["dry_run"] !== true;
    if (write) fake.writes.push({ method: r.method(), path, body, csrf: r.headers()["x-falcon-csrf"] ?? "" });
    const found = routes.find(([method, re]) => method === r.method() && re.test(path));
    if (!found) return write ? reply(200, { message: "ok" }) : reply(404, { error: "the fake has no " + path });
    try {
      return await reply(200, found[2](found[1].exec(path) as RegExpExecArray, url.searchParams, body));
    } catch (err) {
      if (err instanceof Refused) return reply(err.status, { error: err.message, field: err.field });
      throw err;
    }
  };
  // A page that is left does not wait for its answers.
  await p.route("**/api/v1/**", (route) => void answer(route).catch(() => {}));
  return fake;
}

/** Whether every change carried the token. */
export const signed = (fake: Fake): boolean => fake.writes.length > 0 && fake.writes.every((w) => w.csrf === token);
