//! Queries over five ranges, which this SDK merges itself, by plans of its own and by the server's.

use azure_data_cosmos::{
    feed::Query,
    models::{
        CompositeIndex, CompositeIndexOrder, CompositeIndexProperty, ContainerProperties, IndexingPolicy,
        ThroughputProperties,
    },
    options::{CreateContainerOptions, MaxItemCountHint, QueryOptions, QueryPlanMode},
    ContainerClient, DatabaseClient, FeedScope, PartitionKey,
};
use futures::{StreamExt, TryStreamExt};
use serde_json::{json, Value};

use crate::{fails, report, status, Outcome};

const ITEMS: i64 = 40;
const KINDS: [&str; 3] = ["red", "green", "blue"];
const PLANS: [QueryPlanMode; 2] = [QueryPlanMode::LocalPreferred, QueryPlanMode::GatewayOnly];

type Rows = Result<Vec<Value>, Box<dyn std::error::Error>>;

struct Queries {
    items: ContainerClient,
    tenants: ContainerClient,
}

fn numbers(from: i64, to: i64) -> Vec<Value> {
    (from..to).map(|n| json!(n)).collect()
}

fn reversed(mut rows: Vec<Value>) -> Vec<Value> {
    rows.reverse();
    rows
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(|row| row.to_string());
    rows
}

fn same_rows(text: &str, found: &[Value], wanted: &[Value]) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{text}: {}, wanted {}", json!(found), json!(wanted)).into())
}

async fn make(
    database: &DatabaseClient,
    properties: ContainerProperties,
) -> Result<ContainerClient, Box<dyn std::error::Error>> {
    let id = properties.id.to_string();
    let options = CreateContainerOptions::default().with_throughput(ThroughputProperties::manual(50000));
    match database.create_container(properties, Some(options)).await {
        Err(error) if status(&error) != 409 => return Err(error.into()),
        _ => Ok(database.container_client(id.as_str(), None).await?),
    }
}

fn item(n: i64) -> Value {
    let values = [json!(null), json!(true), json!(2), json!(-1.5), json!("text"), json!("")];
    let mut item = json!({"id": format!("i{n}"), "pk": format!("p{}", n % 10), "n": n,
        "kind": KINDS[n as usize % 3], "tags": [n % 2, n % 5]});
    if let Some(value) = values.get(n as usize % 7) {
        item["v"] = value.clone();
    }
    item
}

async fn ask(
    container: &ContainerClient,
    query: impl Into<Query>,
    scope: FeedScope,
    plan: QueryPlanMode,
) -> azure_data_cosmos::Result<Vec<Value>> {
    let options = QueryOptions::default()
        .with_query_plan_mode(plan)
        .with_max_item_count(MaxItemCountHint::Limit(4.try_into().expect("not zero")));
    container.query_items::<Value>(query, scope, Some(options)).await?.try_collect().await
}

impl Queries {
    async fn new(database: &DatabaseClient) -> Result<Self, Box<dyn std::error::Error>> {
        let composite = CompositeIndex::default()
            .with_property(CompositeIndexProperty::new("/kind", CompositeIndexOrder::Ascending))
            .with_property(CompositeIndexProperty::new("/n", CompositeIndexOrder::Descending));
        let policy = IndexingPolicy::default().with_included_path("/*").with_composite_index(composite);
        let properties = ContainerProperties::new("queries", "/pk".into()).with_indexing_policy(policy);
        let items = make(database, properties).await?;
        for n in 0..ITEMS {
            items.create_item(format!("p{}", n % 10), &format!("i{n}"), item(n), None).await?;
        }
        let tenants =
            make(database, ContainerProperties::new("tenants", ("/tenant", "/user", "/session").into())).await?;
        for n in 0..12 {
            let (tenant, user) = (format!("t{}", n % 2), format!("u{}", n % 3));
            let item = json!({"id": format!("i{n}"), "tenant": tenant, "user": user, "session": n, "n": n});
            tenants.create_item((tenant, user, n), &format!("i{n}"), item, None).await?;
        }
        Ok(Self { items, tenants })
    }

    /// Compares the results in order, by both kinds of plans.
    async fn in_order(&self, text: &str, wanted: &[Value]) -> Outcome {
        for plan in PLANS {
            let found = ask(&self.items, text, FeedScope::full_container(), plan).await?;
            same_rows(&format!("{plan}: {text}"), &found, wanted)?;
        }
        Ok(())
    }

    async fn any_order(&self, query: impl Into<Query> + Clone, wanted: &[Value]) -> Outcome {
        for plan in PLANS {
            let found = ask(&self.items, query.clone(), FeedScope::full_container(), plan).await?;
            same_rows(&plan.to_string(), &sorted(found), &sorted(wanted.to_vec()))?;
        }
        Ok(())
    }

    /// Page after page, each asked for anew by what the last one told.
    async fn resumed(&self, text: &str, plan: QueryPlanMode) -> Rows {
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let mut options = QueryOptions::default()
                .with_query_plan_mode(plan)
                .with_max_item_count(MaxItemCountHint::Limit(3.try_into()?));
            if let Some(token) = token {
                options = options.with_continuation_token(token);
            }
            let mut pages = self
                .items
                .query_items::<Value>(text, FeedScope::full_container(), Some(options))
                .await?
                .into_pages();
            let Some(page) = pages.next().await else { return Ok(found) };
            found.extend(page?.into_items());
            if found.len() > ITEMS as usize {
                return Ok(found);
            }
            token = Some(pages.to_continuation_token()?);
        }
    }

    async fn filters(&self) -> Outcome {
        self.any_order("SELECT VALUE c.n FROM c", &numbers(0, ITEMS)).await?;
        let query = Query::from(
            "SELECT VALUE c.n FROM c WHERE c.n >= @low AND c.kind IN (@kind, 'none') AND ARRAY_CONTAINS(c.tags, @tag)",
        )
        .with_parameter("@low", 9)?
        .with_parameter("@kind", "red")?
        .with_parameter("@tag", 4)?;
        self.any_order(query, &[json!(9), json!(24), json!(39)]).await?;
        self.any_order("SELECT VALUE c.n FROM c WHERE c.none > 1", &[]).await?;
        self.any_order("SELECT VALUE c.n FROM c WHERE c.pk IN ('p3', 'p4') AND c.n < 10", &numbers(3, 5)).await?;
        self.any_order("SELECT VALUE t FROM c JOIN t IN c.tags WHERE c.n < 2", &[json!(0), json!(0), json!(1), json!(1)]).await
    }

    async fn one_key(&self) -> Outcome {
        for (text, wanted) in [
            ("SELECT VALUE c.n FROM c ORDER BY c.n DESC", vec![33, 23, 13, 3]),
            ("SELECT VALUE COUNT(1) FROM c", vec![4]),
            ("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 1 LIMIT 2", vec![13, 23]),
            ("SELECT VALUE MAX(c.n) FROM c GROUP BY c.pk", vec![33]),
        ] {
            let found = ask(&self.items, text, FeedScope::partition("p3"), QueryPlanMode::default()).await?;
            same_rows(text, &found, &wanted.into_iter().map(Value::from).collect::<Vec<_>>())?;
        }
        self.in_order("SELECT VALUE c.n FROM c WHERE c.pk = 'p3' ORDER BY c.n", &[json!(3), json!(13), json!(23), json!(33)])
            .await
    }

    async fn order(&self) -> Outcome {
        self.in_order("SELECT VALUE c.n FROM c ORDER BY c.n", &numbers(0, ITEMS)).await?;
        self.in_order("SELECT VALUE c.n FROM c ORDER BY c.n DESC", &reversed(numbers(0, ITEMS))).await?;
        let wanted = [json!({}), json!({"v": null}), json!({"v": true}), json!({"v": -1.5}), json!({"v": 2}),
            json!({"v": ""}), json!({"v": "text"})];
        self.in_order("SELECT c.v FROM c WHERE c.n < 7 ORDER BY c.v", &wanted).await
    }

    async fn order_of_several(&self) -> Outcome {
        let mut wanted = Vec::new();
        for kind in ["blue", "green", "red"] {
            wanted.extend((0..ITEMS).rev().filter(|n| KINDS[*n as usize % 3] == kind).map(|n| json!(n)));
        }
        self.in_order("SELECT VALUE c.n FROM c ORDER BY c.kind, c.n DESC", &wanted).await?;
        self.in_order("SELECT VALUE c.n FROM c ORDER BY c.kind DESC, c.n ASC", &reversed(wanted)).await
    }

    /// This SDK combines none over several ranges, and says so.
    async fn not_combined(&self, text: &str) -> Outcome {
        let found = ask(&self.items, text, FeedScope::full_container(), QueryPlanMode::GatewayOnly).await;
        fails(400, found)
    }

    async fn distinct(&self) -> Outcome {
        let all = [json!("blue"), json!("green"), json!("red")];
        self.any_order("SELECT DISTINCT TOP 10 VALUE c.kind FROM c", &all).await?;
        self.in_order("SELECT DISTINCT VALUE c.kind FROM c ORDER BY c.kind DESC", &reversed(all.to_vec())).await
    }

    async fn windows(&self) -> Outcome {
        self.in_order("SELECT TOP 7 VALUE c.n FROM c ORDER BY c.n DESC", &reversed(numbers(33, 40))).await?;
        self.in_order("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 11 LIMIT 12", &numbers(11, 23)).await?;
        self.in_order("SELECT TOP 9 VALUE true FROM c", &vec![json!(true); 9]).await?;
        self.in_order("SELECT VALUE 1 FROM c OFFSET 30 LIMIT 20", &vec![json!(1); 10]).await
    }

    async fn pages(&self) -> Outcome {
        for plan in PLANS {
            let found = self.resumed("SELECT VALUE c.n FROM c", plan).await?;
            same_rows("pages", &sorted(found), &sorted(numbers(0, ITEMS)))?;
            same_rows("pages of TOP", &self.resumed("SELECT TOP 7 VALUE 1 FROM c", plan).await?, &vec![json!(1); 7])?;
        }
        Ok(())
    }

    async fn ordered_pages(&self) -> Outcome {
        for plan in PLANS {
            let found = self.resumed("SELECT VALUE c.n FROM c ORDER BY c.n", plan).await?;
            same_rows("ascending", &found, &numbers(0, ITEMS))?;
            let found = self.resumed("SELECT VALUE c.n FROM c ORDER BY c.n DESC", plan).await?;
            same_rows("descending", &found, &reversed(numbers(0, ITEMS)))?;
            for text in ["SELECT VALUE c.n FROM c ORDER BY c.kind", "SELECT VALUE c.n FROM c ORDER BY c.v DESC"] {
                same_rows(text, &sorted(self.resumed(text, plan).await?), &sorted(numbers(0, ITEMS)))?;
            }
            let found = self.resumed("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 11 LIMIT 12", plan).await?;
            same_rows("window", &found, &numbers(11, 23))?;
        }
        Ok(())
    }

    async fn key_prefix(&self) -> Outcome {
        let tenant = || FeedScope::partition("t1");
        let user = || FeedScope::partition(PartitionKey::from(("t1", "u0")));
        for plan in PLANS {
            let found = ask(&self.tenants, "SELECT VALUE c.n FROM c ORDER BY c.n", tenant(), plan).await?;
            same_rows("tenant", &found, &[1, 3, 5, 7, 9, 11].map(Value::from))?;
            let found = ask(&self.tenants, "SELECT VALUE c.n FROM c ORDER BY c.n DESC", user(), plan).await?;
            same_rows("user", &found, &[9, 3].map(Value::from))?;
            let text = "SELECT VALUE c.n FROM c WHERE c.tenant = 't0' AND c.user = 'u1' ORDER BY c.n";
            let found = ask(&self.tenants, text, FeedScope::full_container(), plan).await?;
            same_rows(text, &found, &[4, 10].map(Value::from))?;
        }
        Ok(())
    }

    async fn feed_ranges(&self) -> Outcome {
        let ranges = self.items.read_feed_ranges(None).await?;
        if ranges.len() != 5 {
            return Err(format!("{} ranges", ranges.len()).into());
        }
        let mut all = Vec::new();
        for range in ranges {
            let text = "SELECT VALUE c.n FROM c ORDER BY c.n";
            let mut found = ask(&self.items, text, FeedScope::range(range), QueryPlanMode::GatewayOnly).await?;
            if !found.is_sorted_by_key(|n| n.as_i64()) {
                return Err(format!("not in order: {}", json!(found)).into());
            }
            all.append(&mut found);
        }
        same_rows("all ranges", &sorted(all), &sorted(numbers(0, ITEMS)))
    }

    async fn refused(&self) -> Outcome {
        for text in ["SELECT * FROM", "SELECT NOSUCH(c.n) FROM c", "SELECT * FROM c ORDER BY c.n, c.pk"] {
            for plan in PLANS {
                fails(400, ask(&self.items, text, FeedScope::full_container(), plan).await)?;
            }
        }
        Ok(())
    }
}

pub async fn report_all(database: &DatabaseClient) {
    let queries = match Queries::new(database).await {
        Ok(queries) => queries,
        Err(error) => return report("query_filters", async { Err(error) }).await,
    };
    report("query_filters", queries.filters()).await;
    report("query_one_key", queries.one_key()).await;
    report("query_order", queries.order()).await;
    report("query_order_of_several", queries.order_of_several()).await;
    report("query_aggregates", queries.not_combined("SELECT VALUE COUNT(1) FROM c")).await;
    report("query_groups", queries.not_combined("SELECT c.kind FROM c GROUP BY c.kind")).await;
    report("query_distinct", queries.distinct()).await;
    report("query_windows", queries.windows()).await;
    report("query_pages", queries.pages()).await;
    report("query_ordered_pages", queries.ordered_pages()).await;
    report("query_key_prefix", queries.key_prefix()).await;
    report("query_feed_ranges", queries.feed_ranges()).await;
    report("query_refused", queries.refused()).await;
}
