/**
 * Owns metrics whose values are read when they are scraped. The data plane keeps plain numbers; nothing here is touched
 * between two scrapes, and a Service that went has no series left to forget (rule H4).
 *
 *   scrape -> read() -> values -> Registry
 */
import { Counter, Gauge, type Registry } from 'prom-client';

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

type Read = () => readonly Sample[];

class PulledGauge extends Gauge {
  readonly #read: Read;
  constructor(registry: Registry, name: string, help: string, read: Read) {
    super({ name, help, registers: [registry] });
    this.#read = read;
  }
  override async get() {
    return { ...(await super.get()), values: [...this.#read()] };
  }
}

class PulledCounter extends Counter {
  readonly #read: Read;
  constructor(registry: Registry, name: string, help: string, read: Read) {
    super({ name, help, registers: [registry] });
    this.#read = read;
  }
  override async get() {
    return { ...(await super.get()), values: [...this.#read()] };
  }
}

export class PulledMetrics {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  gauge(name: string, help: string, read: () => number): void {
    new PulledGauge(this.#registry, name, help, () => [{ labels: {}, value: read() }]);
  }

  counter(name: string, help: string, read: () => number): void {
    new PulledCounter(this.#registry, name, help, () => [{ labels: {}, value: read() }]);
  }

  gauges(name: string, help: string, read: Read): void {
    new PulledGauge(this.#registry, name, help, read);
  }

  counters(name: string, help: string, read: Read): void {
    new PulledCounter(this.#registry, name, help, read);
  }
}
