// Grafana's own types of dashboards and of the five kinds of panels that ours have; grafana.schema.json is made of it:
//   npm install @grafana/schema@11.6.0 ts-json-schema-generator@2.3.0 typescript@5
//   npx ts-json-schema-generator --path grafana.schema.ts --type Dashboard --jsDoc none --minify
// In @grafana/schema a panel's options are anything; here they are those of its kind, and nothing else.
import * as raw from '@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen';
import * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import * as gauge from '@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen';
import * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';

interface Config<F> extends Omit<raw.FieldConfig, 'custom'> { custom?: Partial<F>; }
interface Source<F> extends Omit<raw.FieldConfigSource, 'defaults'> { defaults: Config<F>; }
interface Kind<T extends string, O, F> extends Omit<raw.Panel, 'type' | 'options' | 'fieldConfig'> {
  type: T;
  options?: Partial<O>;
  fieldConfig?: Source<F>;
}
type None = Record<string, never>;
type Panel = Kind<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | Kind<'stat', stat.Options, None> | Kind<'gauge', gauge.Options, None>
  | Kind<'heatmap', heatmap.Options, heatmap.FieldConfig> | Kind<'table', table.Options, table.FieldConfig>;
interface Row extends Omit<raw.RowPanel, 'panels'> { type: 'row'; panels: Panel[]; }
export interface Dashboard extends Omit<raw.Dashboard, 'panels'> { panels: Array<Panel | Row>; }
