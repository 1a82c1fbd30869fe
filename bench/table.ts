/**
 * Owns the results of a run, and their tables in Markdown.
 *
 *   Sample per figure, forwarder and round -> medians, ratios to a base in the same round -> table
 */
import type { Figure, Metric, Sample } from './figure.js';
import type { Forwarder } from './forwarder.js';

/** What the other forwarders are compared with. */
export const BASE = { TCP: 'haproxy', UDP: 'nginx' } as const;

export class Results {
  /** Figure and forwarder -> one sample a round, undefined where the trial failed. */
  readonly samples = new Map<string, (Sample | undefined)[]>();
  /** What failed or was left out, in words. */
  readonly notes: string[] = [];

  add(figure: Figure, forwarder: Forwarder, sample: Sample | undefined): void {
    const key = `${figure.name} ${forwarder.name}`;
    this.samples.set(key, [...(this.samples.get(key) ?? []), sample]);
  }

  values(figure: Figure, forwarderName: string, metric: Metric): (number | undefined)[] {
    return (this.samples.get(`${figure.name} ${forwarderName}`) ?? []).map((sample) => sample?.[metric.key]);
  }
}

/** One table a figure: a row for each forwarder, `median (ratio to the base)` in each column, then the spread. */
export function figureTable(figure: Figure, forwarders: readonly Forwarder[], results: Results): string {
  const base = BASE[figure.protocol];
  const measured = forwarders.filter(({ name }) => results.samples.has(`${figure.name} ${name}`));
  const rows = measured.map((forwarder) => [
    forwarder.name,
    ...figure.metrics.map((metric) => cell(figure, forwarder.name, metric, results)),
    spread(figure, forwarder.name, results),
  ]);
  const head = ['', ...figure.metrics.map(({ title }) => title), 'spread'];
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = line(head.map((_title, i) => (i === 0 ? '---' : '---:')));
  return `### ${figure.title}\n\n${[line(head), rule, ...rows.map(line)].join('\n')}\n\nRatios in parentheses: to ${base}.\n`;
}

function cell(figure: Figure, forwarderName: string, metric: Metric, results: Results): string {
  const values = results.values(figure, forwarderName, metric);
  const baseValues = results.values(figure, BASE[figure.protocol], metric);
  const value = median(values);
  if (value === undefined) return '-';
  const text = value.toLocaleString('en-US', {
    minimumFractionDigits: metric.digits,
    maximumFractionDigits: metric.digits,
  });
  const ratio = median(pairedRatios(values, baseValues));
  return ratio === undefined || forwarderName === BASE[figure.protocol] ? text : `${text} (${ratio.toFixed(2)})`;
}

/** Each value over the base's of the same round: what changed the machine between rounds changed both. */
export function pairedRatios(
  values: readonly (number | undefined)[],
  base: readonly (number | undefined)[],
): (number | undefined)[] {
  return values.map((value, round) => {
    const other = base[round];
    return value === undefined || other === undefined || other === 0 ? undefined : value / other;
  });
}

/** Lowest to highest round of the first column that has numbers, around the median, in percent. */
function spread(figure: Figure, forwarderName: string, results: Results): string {
  for (const metric of figure.metrics) {
    const values = results.values(figure, forwarderName, metric).filter((value) => value !== undefined);
    const middle = median(values);
    if (middle === undefined || middle === 0) continue;
    const low = Math.round((100 * (Math.min(...values) - middle)) / middle);
    const high = Math.round((100 * (Math.max(...values) - middle)) / middle);
    return `${low} to +${high} %`;
  }
  return '-';
}

export function median(values: readonly (number | undefined)[]): number | undefined {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [upper, lower] = [sorted[middle], sorted[middle - 1]];
  if (upper === undefined) return undefined;
  return sorted.length % 2 === 1 || lower === undefined ? upper : (lower + upper) / 2;
}
