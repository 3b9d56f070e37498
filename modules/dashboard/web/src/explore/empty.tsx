// What an empty pane says: the next step, or how to get a first point in.
import { useSignal } from "@preact/signals";
import { t } from "../i18n";
import { counters, endpointTotal, endpoints, endpointsOf } from "./lists";
import { show, view } from "./state";

// What most people look at first on a host.
const basics = [/^cpu\.busy$/, /^load\.1min$/, /^mem\.memused\.percent$/, /^df\.bytes\.used\.percent\//, /^net\.if\.in\.bits\//, /^disk\.io\.util\//];

/** The first counter of each basic kind among names. */
export const basicsOf = (names: readonly string[]): string[] => basics.flatMap((b) => names.find((n) => b.test(n)) ?? []);

export function Empty() {
  const v = view.value;
  if (endpointsOf.value === "." && endpointTotal.value === 0 && v.endpoints.length === 0) return <Fresh />;
  const hosts = endpoints.value.slice(0, 3).flatMap((r) => r?.endpoint ?? []);
  const found = basicsOf(counters.value.map((c) => c.counter));
  if (v.endpoints.length > 0) {
    return (
      <div class="empty">
        <h2>{t("empty.counters")}</h2>
        <p>{t("empty.counters.text")}</p>
        {found.length > 0 ? (
          <button type="button" class="button" onClick={() => show({ counters: found, pane: "" })}>
            {v.endpoints.length === 1 ? t("empty.basics", { host: v.endpoints[0] as string }) : t("empty.basics.n")}
          </button>
        ) : null}
      </div>
    );
  }
  return (
    <div class="empty">
      <h2>{t("empty.title")}</h2>
      <p>{t("empty.text")}</p>
      <div class="offers">
        {hosts.map((host) => (
          <button key={host} type="button" class="button mono" onClick={() => show({ endpoints: [host], pane: "" })}>
            {host}
          </button>
        ))}
      </div>
    </div>
  );
}

/** The line that pushes a first point, to the agent's port on the host of this page. */
export const pushLine = (host: string): string =>
  `curl -s -X POST -d '[{"endpoint":"demo","metric":"hello","timestamp":'$(date +%s)',"step":60,"value":1,"counterType":"GAUGE","tags":"a=b"}]' http://${host}:1988/v1/push`;

function Fresh() {
  const copied = useSignal(false);
  const line = pushLine(location.hostname);
  return (
    <div class="empty wide">
      <h2>{t("fresh.title")}</h2>
      <p>{t("fresh.text")}</p>
      <pre class="command" tabIndex={0}>{line}</pre>
      {navigator.clipboard ? (
        <button type="button" class="button" onClick={() => void navigator.clipboard.writeText(line).then(() => (copied.value = true))}>
          {t(copied.value ? "copied" : "copy")}
        </button>
      ) : null}
    </div>
  );
}
