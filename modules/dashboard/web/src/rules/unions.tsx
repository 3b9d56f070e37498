// Combined rules: strategies of one template of which all must hold on a host.
import { useSignal } from "@preact/signals";
import { t } from "../i18n";
import { useLoad, type Loaded } from "../load";
import { Confirm, Dialog, DialogForm } from "../ui/dialog";
import { Field, valueOf } from "../ui/field";
import { DeleteIcon, EditIcon, PlusIcon } from "../ui/icons";
import { Pill, Status, Tool } from "../ui/parts";
import { told } from "../ui/toast";
import { post, put, read, remove } from "../write";
import { Combined } from "./combined";
import type { Inherited, Strategy } from "./data";

export interface Union {
  /** 0 when another program made it, which saving takes over. */
  id: number;
  name: string;
  create_user: string;
  tpl_id: number;
  strategy_ids: number[];
  serial: string;
  /** How many conditions must hold. */
  count: number;
}

const load = (id: number, signal?: AbortSignal) => read<Union[] | null>(`/union?tid=${id}&inherited=true`, signal).then((a) => a ?? []);

/** The combinations of a template and of those it inherits from, looked for again when its strategies are others. */
export const useUnions = (id: number, rows: readonly Inherited[]): Loaded<Union[]> =>
  useLoad(`unions ${id} ${rows.map((r) => r.strategy.id).join(",")}`, (s) => load(id, s), { keep: true });

const condition = (s: Strategy) => `${s.metric}${s.tags ? "/" + s.tags : ""} ${s.func} ${s.op} ${s.right_value}`;

/** Below a strategy's metric: that it alarms only together with others. */
export function Joined({ id, unions, rows }: { id: number; unions: readonly Union[] | undefined; rows: readonly Inherited[] }) {
  const u = unions?.find((x) => x.strategy_ids.includes(id));
  if (!u) return null;
  const metrics = u.strategy_ids.map((m) => rows.find((r) => r.strategy.id === m)?.strategy.metric ?? "#" + m);
  return <div class="sub joined">{t("union.all", { what: metrics.join(", ") })}</div>;
}

export function Unions({ id, unions, rows }: { id: number; unions: Loaded<Union[]>; rows: readonly Inherited[] }) {
  const edited = useSignal<Union | null>(null);
  const gone = useSignal<Union | null>(null);
  const own = rows.filter((r) => r.own).map((r) => r.strategy);
  const mine = (unions.data ?? []).filter((u) => u.tpl_id === id);
  const free = own.filter((s) => !mine.some((u) => u.strategy_ids.includes(s.id)));
  const fresh: Union = { id: 0, name: "", create_user: "", tpl_id: id, strategy_ids: [], serial: "", count: 2 };
  const title = (u: Union) => u.name || t("union.unnamed");
  if (own.length < 2 && mine.length === 0) return null;
  return (
    <div class="unions">
      <Status of={[unions]} />
      <div class="section-head">
        <h3>{t("unions")}</h3>
        <div class="end">
          {free.length > 1 ? <button type="button" class="button small" onClick={() => (edited.value = fresh)}><PlusIcon /> {t("union.new")}</button> : null}
        </div>
      </div>
      {mine.length === 0 ? <p class="sub">{t("union.none")}</p> : null}
      {mine.length > 0 ? (
        <ul class="union-list">
          {mine.map((u) => (
            <li key={u.serial}>
              <div class="union-head">
                <b>{title(u)}</b>
                {u.count > u.strategy_ids.length ? <Pill tone="bad">{t("union.dead", { n: u.strategy_ids.length, all: u.count })}</Pill> : null}
                <span class="tools">
                  <Tool does={t("edit")} to={title(u)} onClick={() => (edited.value = u)}><EditIcon /></Tool>
                  {u.id > 0 ? <Tool does={t("union.dissolve")} to={title(u)} onClick={() => (gone.value = u)}><DeleteIcon /></Tool> : null}
                </span>
              </div>
              <div class="sub">{t("union.all", { what: "" })}</div>
              <ul class="mono">
                {u.strategy_ids.map((m) => {
                  const s = own.find((x) => x.id === m);
                  return <li key={m}>{s ? condition(s) : "#" + m}</li>;
                })}
              </ul>
              <Combined
                of={{ serial: u.serial }} none={t("combined.none")}
                name={(m) => {
                  const s = own.find((x) => x.id === m);
                  return s && condition(s);
                }}
              />
            </li>
          ))}
        </ul>
      ) : null}
      {edited.value ? <EditUnion of={edited.value} own={own} others={mine.filter((u) => u !== edited.value)} onDone={unions.reload} onClose={() => (edited.value = null)} /> : null}
      {gone.value ? (
        <Confirm
          title={t("union.dissolve.what", { name: title(gone.value) })} text={t("union.dissolve.text")} action={t("union.dissolve")} onClose={() => (gone.value = null)}
          onYes={async () => {
            await remove("/union/" + (gone.value as Union).id);
            unions.reload();
          }}
        />
      ) : null}
    </div>
  );
}

interface EditProps {
  of: Union;
  own: readonly Strategy[];
  others: readonly Union[];
  onDone(): void;
  onClose(): void;
}

function EditUnion({ of, own, others, onDone, onClose }: EditProps) {
  const name = useSignal(of.name);
  const chosen = useSignal(new Set(of.strategy_ids.filter((id) => own.some((s) => s.id === id))));
  const taken = new Set(others.flatMap((u) => u.strategy_ids));
  const turn = (id: number) => {
    const next = new Set(chosen.peek());
    if (!next.delete(id)) next.add(id);
    chosen.value = next;
  };
  return (
    <Dialog title={t(of.serial === "" ? "union.new" : "union.edit")} onClose={onClose} wide>
      <DialogForm
        action={t("save")} onClose={onClose} disabled={chosen.value.size < 2}
        onSend={async () => {
          const body = { name: name.value.trim(), strategy_ids: [...chosen.value].sort((a, b) => a - b) };
          await (of.id > 0 ? put("/union", { id: of.id, ...body }) : post("/union", body));
          told(t("saved"));
          onDone();
        }}
      >
        <p>{t("union.text")}</p>
        <Field label={t("union.name")}><input class="field" name="name" data-first value={name.value} onInput={(e: Event) => (name.value = valueOf(e))} spellcheck={false} /></Field>
        <div class="labelled">
          <span class="label">{t("union.members")}</span>
          <div class="choices" role="group" aria-label={t("union.members")} tabIndex={0}>
            {own.map((s) => (
              <label class="check" key={s.id}>
                <input type="checkbox" checked={chosen.value.has(s.id)} disabled={taken.has(s.id)} onChange={() => turn(s.id)} />
                <span class="mono">{condition(s)}</span> {s.note ? <span class="sub">{s.note}</span> : null} {taken.has(s.id) ? <span class="sub">{t("union.taken")}</span> : null}
              </label>
            ))}
          </div>
        </div>
      </DialogForm>
    </Dialog>
  );
}

/** Makes the combinations of one template again of the copies of its strategies. */
export async function copyUnions(from: number, copies: ReadonlyMap<number, number>): Promise<void> {
  const all = await read<Union[] | null>("/union?tid=" + from);
  for (const u of all ?? []) {
    const ids = u.strategy_ids.map((id) => copies.get(id)).filter((id) => id !== undefined);
    if (ids.length > 1) await post("/union", { name: u.name, strategy_ids: ids });
  }
}
