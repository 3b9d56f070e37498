// Environments: in which one hosts are, and bindings that are limited to one.
import { useSignal } from "@preact/signals";
import { say, t, type Key } from "../i18n";
import { valueOf } from "../ui/field";
import { PauseIcon } from "../ui/icons";
import { told } from "../ui/toast";
import { post, put, useWrite } from "../write";
import { Bindings } from "./bindings";
import { Disable, type Target } from "./disable";

export const envs = ["prod", "staging", "test"] as const;

const known = (env: string): env is (typeof envs)[number] => (envs as readonly string[]).includes(env);

/** The name of an environment, as people say it. */
export const envName = (env: string): string => (known(env) ? t(`env.${env}` as Key) : env || t("env.unknown"));

/** The choice of an environment for hosts; of one host it shows which. */
export function HostEnv({ ids, value, onDone }: { ids: readonly number[]; value?: string; onDone(): void }) {
  const w = useWrite();
  const one = value !== undefined;
  return (
    <>
      <select
        class={"field" + (one ? "" : " add")} aria-label={t("env")} value={one ? value : "?"} disabled={w.busy}
        onChange={(e: Event) => {
          const env = valueOf(e);
          if (!one) (e.currentTarget as HTMLSelectElement).value = "?";
          if (env === "?") return;
          void w.run(() => put("/host/env", { ids, env })).then((ok) => {
            if (!ok) return;
            told(t("saved"));
            onDone();
          });
        }}
      >
        {one ? null : <option value="?">{t("env.set")}</option>}
        <option value="">{t("env.unknown")}</option>
        {envs.map((env) => <option key={env} value={env}>{envName(env)}</option>)}
      </select>
      {w.error ? <span class="bad-text" role="alert">{say(w.error)}</span> : null}
    </>
  );
}

export interface Bound {
  id: number;
  name: string;
  env: string;
}

/** The other side's env_bindings, as both lists of bindings answer them. */
export interface EnvBinding {
  grp_id: number;
  tpl_id: number;
  env: string;
  grp_name: string;
  tpl_name: string;
}

interface Props {
  there: readonly Bound[];
  all: readonly { id: number; name: string }[];
  href: string;
  label: string;
  empty: string;
  /** The binding to id, as the api takes it. */
  pair(id: number): { grp_id: number; tpl_id: number };
  onDone(): void;
}

/** Bindings of a template and groups, each for all hosts or for those of one environment; each can be disabled for a while. */
export function EnvBindings({ there, all, href, label, empty, pair, onDone }: Props) {
  const env = useSignal("");
  const off = useSignal<{ target: Target; name: string } | null>(null);
  const text = (name: string, e: string) => (e ? `${name} · ${envName(e)}` : name);
  const key = (id: number, e: string) => `${id}:${e}`;
  const parse = (k: string): [number, string] => {
    const i = k.indexOf(":");
    return [Number(k.slice(0, i)), k.slice(i + 1)];
  };
  const body = (k: string) => {
    const [id, e] = parse(k);
    return { ...pair(id), ...(e ? { env: e } : {}) };
  };
  return (
    <>
      <Bindings<string>
        there={there.map((x) => ({ id: key(x.id, x.env), name: text(x.name, x.env) }))} all={all.map((x) => ({ id: key(x.id, env.value), name: x.name }))}
        href={(k) => href + parse(k)[0]} label={label} empty={empty}
        tool={(x) => (
          <button
            type="button" title={t("disable")} aria-label={`${t("disable")}: ${x.name}`}
            onClick={() => (off.value = { target: { type: 5, ...pair(parse(x.id)[0]) }, name: t("disable.binding", { name: there.find((y) => key(y.id, y.env) === x.id)?.name ?? "" }) })}
          >
            <PauseIcon />
          </button>
        )}
        onAdd={(k) => post("/hostgroup/template", body(k)).then(onDone)}
        onRemove={(k) => put("/hostgroup/template", body(k)).then(onDone)}
      >
        <select class="field add" aria-label={t("env.of")} value={env.value} onChange={(e: Event) => (env.value = valueOf(e))}>
          <option value="">{t("env.all")}</option>
          {envs.map((e) => <option key={e} value={e}>{t("env.only", { name: envName(e) })}</option>)}
        </select>
      </Bindings>
      {off.value ? <Disable targets={[off.value.target]} name={off.value.name} onDone={onDone} onClose={() => (off.value = null)} /> : null}
    </>
  );
}
