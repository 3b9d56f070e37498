// Who is told, by which ways, and what is called: the part that templates and expressions have alike.
import { say, t } from "../i18n";
import { useLoad } from "../load";
import { checkedOf, Field, Text } from "../ui/field";
import { Status } from "../ui/parts";
import { read } from "../write";
import { Bindings } from "./bindings";
import { parts, type Action, type Channel } from "./data";

export const noAction: Action = { id: 0, uic: "", url: "", callback: 0, before_callback_sms: 0, before_callback_mail: 0, after_callback_sms: 0, after_callback_mail: 0, channels: "" };
const flags = ["before_callback_sms", "before_callback_mail", "after_callback_sms", "after_callback_mail"] as const;

interface Props {
  action: Action;
  onChange(change: Partial<Action>): void;
  /** What is wrong with the address that is called. */
  wrongURL?: unknown;
}

export function ActionFields({ action: a, onChange: set, wrongURL }: Props) {
  const teams = useLoad("team names", (s) => read<{ name: string }[] | null>("/team/dict", s).then((r) => r ?? []));
  const channels = useLoad("channels", (s) => read<Channel[]>("/alarm/channels", s));
  const chosen = parts(a.uic);
  const ways = parts(a.channels);
  const byName = (names: string[]) => names.map((n) => ({ id: n, name: n }));
  return (
    <>
      <Status of={[teams, channels]} />
      <div class="labelled">
        <span class="label">{t("action.teams")}</span>
        <Bindings<string>
          there={byName(chosen)} all={byName((teams.data ?? []).map((r) => r.name))} label={t("action.addteam")} empty={t("action.nobody")}
          onAdd={(n) => Promise.resolve(set({ uic: [...chosen, n].join(",") }))} onRemove={(n) => Promise.resolve(set({ uic: chosen.filter((x) => x !== n).join(",") }))}
        />
      </div>
      <div class="labelled">
        <span class="label">{t("action.channels")}</span>
        <Bindings<string>
          there={byName(ways)} all={byName((channels.data ?? []).map((c) => c.name))} label={t("action.addchannel")} empty={t("action.every")} quiet
          onAdd={(n) => Promise.resolve(set({ channels: [...ways, n].join(",") }))} onRemove={(n) => Promise.resolve(set({ channels: ways.filter((x) => x !== n).join(",") }))}
        />
      </div>
      <div>
        <label class="check"><input type="checkbox" checked={a.callback === 1} onChange={(e: Event) => set({ callback: checkedOf(e) ? 1 : 0 })} /> {t("action.callback")}</label>
        {a.callback === 1 ? (
          <>
            <Field label={t("action.url")} error={wrongURL ? say(wrongURL) : undefined}>
              <Text class="field mono" name="url" value={a.url} placeholder="http://" onText={(url) => set({ url })} />
            </Field>
            {flags.map((f) => (
              <label class="check" key={f}><input type="checkbox" checked={a[f] === 1} onChange={(e: Event) => set({ [f]: checkedOf(e) ? 1 : 0 })} /> {t(`action.${f}`)}</label>
            ))}
          </>
        ) : null}
      </div>
    </>
  );
}
