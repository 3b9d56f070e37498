// A row of choices of which one holds.
interface Props<T extends string> {
  label: string;
  value: T | null;
  options: readonly (readonly [T, string])[];
  onChange(v: T): void;
}

export function Segment<T extends string>({ label, value, options, onChange }: Props<T>) {
  return (
    <div class="segment" role="group" aria-label={label}>
      {options.map(([v, text]) => (
        <button key={v} type="button" aria-pressed={v === value} onClick={() => onChange(v)}>
          {text}
        </button>
      ))}
    </div>
  );
}
